#include "cohort/member/robust_lock.hpp"

#include <algorithm>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cohort {
namespace {

constexpr unsigned spins = 200;
constexpr auto first_slice = 250us;
constexpr auto longest_slice = 16ms;

/// The half of the word that futex calls take: lane and bit.
std::uint32_t* lower_half(std::atomic<std::uint64_t>& word) noexcept
{
    return reinterpret_cast<std::uint32_t*>(&word);
}

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
        if (round < spins) {
            cpu_relax();
            continue;
        }
        if (steady_clock::now() >= until)
            return lock_result::stalled;
        if ((seen & sleeps) == 0 &&
            !word_.compare_exchange_strong(seen, seen | sleeps, std::memory_order_relaxed))
            continue;
        mark = sleeps;
        sleep(seen | sleeps, std::min(until, deadline_in(slice)));
        slice = std::min<steady_clock::duration>(2 * slice, longest_slice);
    }
}

void robust_lock::sleep(std::uint64_t seen, deadline until) noexcept
{
    const auto end = until.time_since_epoch();
    const auto whole = std::chrono::floor<std::chrono::seconds>(end);
    const timespec at{.tv_sec = whole.count(), .tv_nsec = (end - whole).count()};
    ::syscall(SYS_futex, lower_half(word_), FUTEX_WAIT_BITSET, static_cast<std::uint32_t>(seen),
              &at, nullptr, FUTEX_BITSET_MATCH_ANY);
}

void robust_lock::wake_one() noexcept
{
    ::syscall(SYS_futex, lower_half(word_), FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

}  // namespace cohort
