#pragma once
// The heap's lock for a scope; taken over from a dead holder, the heap is rebuilt first.

#include "cohort/memory/heap_blocks.hpp"

namespace cohort {

class heap_blocks::guard {
public:
    /// Waits for `patience` behind a live holder.
    guard(heap_blocks& heap, actor who) noexcept : heap_{heap}
    {
        if (who.lane == 0)  // a lock without a name would be none
            return;
        const auto ask = [&](lane_id lane) { return heap.memory_.lanes().is_dead(lane); };
        // The clock is read only by who really has to wait.
        auto result = heap_.heap_.lock.lock(who.lane, deadline{}, ask);
        if (result == lock_result::stalled)
            result = heap_.heap_.lock.lock(who.lane, deadline_in(patience), ask);
        begin(result);
    }
    /// For a reaper, who waits for nobody. Takes the lock from `dead` even before its sentinel
    /// spoke; 0 = no such lane.
    guard(heap_blocks& heap, actor who, lane_id dead) noexcept : heap_{heap}
    {
        const auto ask = [&](lane_id lane) {
            return lane == dead || heap.memory_.lanes().is_dead(lane);
        };
        begin(heap_.heap_.lock.lock(who.lane, deadline{}, ask));
    }
    ~guard()
    {
        if (held_)
            heap_.heap_.lock.unlock();
    }
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;

    [[nodiscard]] bool held() const noexcept { return held_; }

private:
    void begin(lock_result result) noexcept
    {
        held_ = result != lock_result::stalled;
        if (result == lock_result::taken_over)
            heap_.rebuild();
    }

    heap_blocks& heap_;
    bool held_ = false;
};

/// Counters have one writer at a time, the holder of the lock.
inline void add(std::atomic<std::uint64_t>& counter, std::uint64_t amount) noexcept
{
    counter.store(counter.load(std::memory_order_relaxed) + amount,
                  std::memory_order_relaxed);  // locked; readers only display it
}

}  // namespace cohort
