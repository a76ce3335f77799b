#include "cohort/member/robust_lock.hpp"

#include "sync/futex.hpp"

#include <algorithm>

namespace cohort {
namespace {

constexpr unsigned looks_before_sleep = 200;
constexpr auto first_slice = 250us;
constexpr auto longest_slice = 16ms;

/// Once true of a word, it stays true: a life that is over does not come again.
bool is_gone(const member_table& table, std::uint64_t word) noexcept
{
    const auto id = static_cast<lane_id>(word);
    if (id >= max_lanes)
        return false;  // scribbled over: nobody's to take
    const auto& lane = table.lane(id);
    const bool died = lane.sentinel.owner_died();  // before the generation: whose death it was
    const auto now = lane.word();
    const bool on_it = now.state == lane_state::entering || now.state == lane_state::live ||
                       now.state == lane_state::leaving;
    return died || now.generation != word >> 32 || !on_it;
}

}  // namespace

lock_result robust_lock::wait(std::uint64_t me, deadline until) noexcept
{
    if (me == 0)
        return lock_result::stalled;
    const auto& table = membership_of(this).members();
    steady_clock::duration slice = first_slice;
    std::uint64_t mark = 0;  // who has slept cannot know that it was the only one
    for (unsigned round = 0;; ++round) {
        // ROBUST: the lane table is seen as it was when that life began, or later.
        auto seen = word_.load(std::memory_order_acquire);
        const bool gone = seen != 0 && is_gone(table, seen);
        if (seen == 0 || gone) {
            if (word_.compare_exchange_strong(seen, me | mark | (seen & sleeps),
                                              std::memory_order_acq_rel,  // ROBUST
                                              std::memory_order_relaxed))
                return gone ? lock_result::taken_over : lock_result::acquired;
            continue;
        }
        if ((seen & ~sleeps) == me)
            return lock_result::stalled;
        if (round < looks_before_sleep) {
            cpu_relax();
            continue;
        }
        if (steady_clock::now() >= until)
            return lock_result::stalled;
        if ((seen & sleeps) == 0 &&
            !word_.compare_exchange_strong(seen, seen | sleeps, std::memory_order_relaxed))
            continue;
        mark = sleeps;
        futex_sleep(&word_, static_cast<std::uint32_t>(seen | sleeps),  // at its lower half
                    std::min(until, deadline_in(slice)));
        slice = std::min<steady_clock::duration>(2 * slice, longest_slice);
    }
}

void robust_lock::wake_one() noexcept
{
    futex_wake(&word_, 1);
}

}  // namespace cohort
