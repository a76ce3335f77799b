#include "cohort/sync/futex_bell.hpp"

#include "sync/futex.hpp"

#include <algorithm>
#include <climits>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cohort {
namespace {

constexpr auto slice = 100ms;  ///< as the dispatcher's look around
constexpr auto slice_without_barrier = 1ms;

std::atomic<bool> barrier_works{true};

long membarrier(int command) noexcept
{
    return ::syscall(SYS_membarrier, command, 0, 0);
}

}  // namespace

void register_for_bells() noexcept
{
    if (membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0)
        barrier_works.store(false, std::memory_order_relaxed);  // a setting
}

void futex_bell::ring() noexcept
{
    auto seen = word_.load(std::memory_order_relaxed);  // the CAS orders
    while ((seen & asleep) != 0)
        if (word_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel,
                                        std::memory_order_relaxed))
            return futex_wake(&word_, INT_MAX);
}

void futex_bell::ring_again() noexcept
{
    if (word_.load(std::memory_order_acquire) == 0)
        return;  // nobody has ever slept here
    word_.fetch_add(asleep + 1, std::memory_order_acq_rel);
    futex_wake(&word_, INT_MAX);
}

std::uint32_t futex_bell::arm() noexcept
{
    const auto armed = word_.fetch_or(asleep, std::memory_order_acq_rel) | asleep;  // ARMED
    if (barrier_works.load(std::memory_order_relaxed) &&                            // a setting
        membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0)
        barrier_works.store(false, std::memory_order_relaxed);
    return armed;
}

void futex_bell::sleep(std::uint32_t armed, deadline until) noexcept
{
    const auto longest = barrier_works.load(std::memory_order_relaxed)
                             ? steady_clock::duration{slice}
                             : slice_without_barrier;
    futex_sleep(&word_, armed, std::min(until, deadline_in(longest)));
}

}  // namespace cohort
