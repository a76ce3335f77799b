#pragma once
/// A lock whose word names its holder, so that waiters can tell a dead holder from a slow one.
///
///   word = { generation:48 | lane:16 }, lane 0 = free
///
///   from                 to                  who                               order
///   {g, 0}               {g+1, me}           any lane                          acquire
///   {g, me}              {g+1, 0}            the holder                        release (RELEASED)
///   {g, dead lane}       {g+1, me}           any lane, after the sentinel of   acquire
///                                            that lane has spoken
///
/// The generation is raised by every step, so a look that has gone stale makes the CAS fail. In an
/// object that others may destroy, that is what keeps a late CAS off the memory's next user: see
/// `lock_if`.
///
/// *Thread safety*: any lane, any process.
/// *When a process dies here*: the word keeps naming its lane until a waiter takes the lock over
/// (and is told so, to run the repair of what the lock guards) or the reaper frees it. A holder
/// that is only stopped keeps the lock: waiters get `stalled` at their deadline.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/clock.hpp"
#include "cohort/base/shared_type.hpp"

#include <atomic>
#include <cstdint>
#include <thread>

namespace cohort {

using lane_id = std::uint16_t;  ///< 0 = no lane

enum class lock_result {
    acquired,
    taken_over,  ///< acquired from a dead holder: repair what the lock guards before using it
    stalled,     ///< the deadline passed behind a live holder
};

class owner_lock {
public:
    /// `is_dead(lane_id)` asks the sentinel of a lane.
    template <typename IsDead>
    [[nodiscard]] lock_result lock(lane_id me, deadline until, IsDead&& is_dead) noexcept
    {
        for (unsigned round = 0;; ++round) {
            auto seen = word_.load(std::memory_order_relaxed);  // the CAS below orders
            const auto holder = holder_in(seen);
            const bool dead = holder != 0 && is_dead(holder);
            if ((holder == 0 || dead) &&
                word_.compare_exchange_strong(seen, next(seen, me), std::memory_order_acquire,
                                              std::memory_order_relaxed))
                return dead ? lock_result::taken_over : lock_result::acquired;
            if (round < spins)
                cpu_relax();
            else if (steady_clock::now() >= until)
                return lock_result::stalled;
            else
                std::this_thread::sleep_for(50us);  // no wake is ever sent: a waker may be dead
        }
    }

    /// One try, which changes nothing unless the word is still `seen`. Whoever destroys the object
    /// around the lock takes the lock first: so if the object was there after `seen` was read, its
    /// memory is written to only if it is there still. That needs `begin_at`.
    template <typename IsDead>
    [[nodiscard]] bool lock_if(std::uint64_t seen, lane_id me, IsDead&& is_dead) noexcept
    {
        const auto holder = holder_in(seen);
        return (holder == 0 || is_dead(holder)) &&
               word_.compare_exchange_strong(seen, next(seen, me), std::memory_order_acquire,
                                             std::memory_order_relaxed);
    }
    /// Free, in a generation that no lock in this place has come to before. Before others see it.
    void begin_at(std::uint64_t generation) noexcept
    {
        word_.store(generation << 16, std::memory_order_relaxed);  // not published yet
    }

    /// Only by the holder.
    void unlock() noexcept
    {
        const auto mine = word_.load(std::memory_order_relaxed);  // only the holder changes it now
        word_.store(next(mine, 0), std::memory_order_release);    // RELEASED
    }

    /// Frees the lock if the lane holds it. Only for the reaper of that lane, after the repair.
    bool release_of(lane_id dead) noexcept
    {
        auto seen = word_.load(std::memory_order_relaxed);  // the CAS below orders
        return holder_in(seen) == dead &&
               word_.compare_exchange_strong(seen, next(seen, 0), std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    /// Who holds it at this moment, 0 = nobody.
    [[nodiscard]] lane_id holder() const noexcept
    {
        return holder_in(word_.load(std::memory_order_relaxed));  // a snapshot for display
    }

    /// The same for `lock_if`: what is read after this call is not older.
    [[nodiscard]] std::uint64_t look() const noexcept
    {
        return word_.load(std::memory_order_acquire);  // LOOKED: before the look at the object
    }

    /// Whom such a word names.
    [[nodiscard]] static lane_id holder_in(std::uint64_t word) noexcept
    {
        return static_cast<lane_id>(word);
    }

    /// The word itself: as long as it is what the holder has seen after `lock`, nobody else had it.
    [[nodiscard]] std::uint64_t word() const noexcept
    {
        return word_.load(std::memory_order_relaxed);  // compared, orders nothing
    }

private:
    static constexpr unsigned spins = 200;

    static std::uint64_t next(std::uint64_t word, lane_id lane) noexcept
    {
        return ((word >> 16) + 1) << 16 | lane;
    }

    std::atomic<std::uint64_t> word_{0};
};

static_assert(shared_layout<owner_lock> && sizeof(owner_lock) == 8);

}  // namespace cohort
