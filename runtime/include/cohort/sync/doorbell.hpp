#pragma once
/// The word that tells a publisher whether its reader sleeps.
///
///   sleeper: arm() ; look for work again ; if none, sleep on its eventfd ; disarm()
///   publisher: publish ; if (must_ring()) write the sleeper's eventfd
///
/// Both sides do a read-modify-write on one word, so one of them comes second and sees the other:
/// either the sleeper's second look finds the work, or the publisher sees the word armed. A lost
/// wake-up would need both to come first.
///
/// A thread of the sleeper's process that takes what has come, and asks not to be rung for it, does
/// as the sleeper does when it is done: it arms, and looks again or wakes the sleeper to look.
///
/// *Thread safety*: one process sleeps; any number of publishers in any process.
/// *When a process dies here*: an armed word of a dead sleeper costs publishers one vain write; a
/// publisher killed between publishing and ringing is noticed by the sleeper's periodic look.

#include "cohort/base/shared_type.hpp"

#include <atomic>
#include <cstdint>

namespace cohort {

class doorbell_layout {
public:
    void arm() noexcept { asleep_.exchange(1, std::memory_order_acq_rel); }  // DOORBELL
    void disarm() noexcept
    {
        asleep_.store(0, std::memory_order_relaxed);
    }  // a spurious ring is harmless

    /// True for the one publisher that has to ring: the first after each `arm`.
    [[nodiscard]] bool must_ring() noexcept
    {
        return asleep_.exchange(0, std::memory_order_acq_rel) != 0;  // DOORBELL
    }

private:
    std::atomic<std::uint32_t> asleep_{0};
};

static_assert(shared_layout<doorbell_layout>);

}  // namespace cohort
