#pragma once
/// A lock for what users share: a word that names its holder's lane and which life of that lane it
/// was, so that a waiter tells a dead holder from a slow one, and nobody has to clean up after it.
///
///     struct totals { robust_lock lock; std::uint64_t in = 0, out = 0; };
///     auto& shared = domain.create<totals>("totals");
///     if (robust_guard mine{shared.lock, deadline_in(10ms)}) {
///         if (mine.taken_over())  // the holder before died in here
///             repair(shared);
///         shared.in += n;
///     }
///
/// It lies anywhere in memory of the domain, also by the dozen and in heap blocks; zeroed memory is
/// a free lock, and it has nothing to destroy.
///
///   word = { generation of the lane:32 | somebody sleeps:1 | 0:15 | lane:16 }, 0 = free
///
///   from        to                who                                            order
///   0           {mine}            any lane                                       acquire, ROBUST
///   {other}     {other | sleeps}  a waiter, before it sleeps at the lower half
///   {mine, *}   0                 the holder, who wakes one if the bit is set    release
///   {gone, *}   {mine, *}         any lane, when the lane table has said that    acquire, ROBUST
///                                 the holder is gone
///
/// A holder is gone when its lane is dead, or has left, or lives another life: none of these is
/// ever taken back, and a word that names a life that is over never comes again. Who has slept sets
/// the bit when it locks, for it cannot know whether others still sleep.
///
/// Without contention: one CAS and one exchange on one line, no call.
///
/// *Thread safety*: any lane, any process. Not recursive: behind itself a lane is `stalled` at
/// once. *When a process dies here*: the word keeps naming the dead life until the next one locks
/// it, who is told `taken_over`; who waits already finds it after as long again as it has waited,
/// 16 ms at most. A taker that dies in its repair is followed by one that is told the same. A wake
/// that is lost, with a holder that dies before it or a waiter that dies or gives up behind it, is
/// made up for by the sleepers' own looks. A holder that is only stopped keeps the lock: waiters
/// are `stalled` at their deadline, and `holder` names its lane, "cohort lanes" its process.

#include "cohort/base/clock.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/member/membership.hpp"
#include "cohort/sync/owner_lock.hpp"

#include <atomic>
#include <cstdint>

namespace cohort {

class robust_lock {
public:
    /// `stalled`: the deadline passed behind a live holder, or the calling thread holds the lock
    /// itself, or it has no lane because all are in use.
    [[nodiscard]] lock_result lock(deadline until) noexcept
    {
        const auto me = own_word();
        std::uint64_t free = 0;
        if (me != 0 && word_.compare_exchange_strong(free, me, std::memory_order_acq_rel,  // ROBUST
                                                     std::memory_order_relaxed)) [[likely]]
            return lock_result::acquired;
        return wait(me, until);
    }

    /// Only by the holder.
    void unlock() noexcept
    {
        if ((word_.exchange(0, std::memory_order_release) & sleeps) != 0)
            wake_one();
    }

    /// Whose lane holds it at this moment, 0 = nobody. It may be gone.
    [[nodiscard]] lane_id holder() const noexcept
    {
        return static_cast<lane_id>(word_.load(std::memory_order_relaxed));  // for display
    }

private:
    static constexpr std::uint64_t sleeps = std::uint64_t{1} << 31;

    [[nodiscard]] std::uint64_t own_word() const noexcept
    {
        auto& mine = membership_of(this);
        const auto lane = mine.lane();
        return lane == 0 ? 0
                         : std::uint64_t{mine.members().lane(lane).word().generation} << 32 | lane;
    }
    [[nodiscard]] lock_result wait(std::uint64_t me, deadline until) noexcept;
    void wake_one() noexcept;

    std::atomic<std::uint64_t> word_{0};
};
static_assert(shared_layout<robust_lock> && sizeof(robust_lock) == 8);

/// Holds a robust_lock to the end of a scope; false when it was not to be had.
class [[nodiscard]] robust_guard {
public:
    robust_guard(robust_lock& lock, deadline until) noexcept
        : lock_{lock}
        , result_{lock.lock(until)}
    {
    }
    ~robust_guard()
    {
        if (*this)
            lock_.unlock();
    }
    robust_guard(const robust_guard&) = delete;
    robust_guard& operator=(const robust_guard&) = delete;

    explicit operator bool() const noexcept { return result_ != lock_result::stalled; }
    /// The last holder was lost in the middle: repair what the lock guards before using it.
    [[nodiscard]] bool taken_over() const noexcept { return result_ == lock_result::taken_over; }

private:
    robust_lock& lock_;
    lock_result result_;
};

}  // namespace cohort
