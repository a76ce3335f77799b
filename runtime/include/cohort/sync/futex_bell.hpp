#pragma once
/// The word that sleepers wait at and a publisher looks at, at next to no cost for those who poll.
///
///   word = { rung:31 | somebody sleeps:1 }
///
///   sleeper: arm() ; look for work again ; if none, sleep(what arm returned)
///   publisher: publish ; ring_if_armed()
///
/// The sleeper pays for the order. The publisher's look is a plain load behind a compiler fence,
/// and `arm` ends with a membarrier, which puts a full fence into every running thread of all
/// members: a publisher whose store the second look misses has not done its load yet, and will see
/// the bit. Each ring changes the word, so who has armed it before does not fall asleep after.
///
/// *Thread safety*: any number of sleepers and publishers, in any process.
/// *When a process dies here*: a dead sleeper costs publishers one vain wake. Sleepers sleep in
/// slices: what a publisher left undone, killed between publishing and ringing, is found when the
/// reaper rings for it, or at the end of the slice.

#include "cohort/base/clock.hpp"
#include "cohort/base/shared_type.hpp"

#include <atomic>
#include <cstdint>

namespace cohort {

class futex_bell {
public:
    /// By the publisher, after it has published.
    void ring_if_armed() noexcept
    {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if ((word_.load(std::memory_order_relaxed) & asleep) != 0) [[unlikely]]  // ARMED
            ring();
    }

    /// Wakes all who sleep here.
    void ring() noexcept;
    /// The same when it is not known what a dead publisher has done: also wakes those for whom the
    /// bit was cleared already.
    void ring_again() noexcept;

    /// Says that somebody is about to sleep; the work must be looked for once more after it.
    [[nodiscard]] std::uint32_t arm() noexcept;
    /// Sleeps until rung, for one slice at most, or until `until`.
    void sleep(std::uint32_t armed, deadline until) noexcept;

private:
    static constexpr std::uint32_t asleep = 1;

    std::atomic<std::uint32_t> word_{0};
};
static_assert(shared_layout<futex_bell> && sizeof(futex_bell) == 4);

/// Once in each process that publishes, before it does. Where the kernel or a filter refuses
/// membarrier, its own sleepers look again each millisecond.
void register_for_bells() noexcept;

}  // namespace cohort
