#pragma once
// The heap's lock for a scope; taken over from a dead holder, the heap is rebuilt first.

#include "cohort/memory/heap_blocks.hpp"

namespace cohort {

class heap_blocks::guard {
public:
    /// Of an external heap, only what lies in the region is touched.
    enum class reach { blocks, region };

    /// Waits for `patience` behind a live holder.
    guard(heap_blocks& heap, actor who) noexcept : heap_{heap}
    {
        begin(wait(who), reach::blocks, who);
    }
    guard(heap_blocks& heap, actor who, reach what) noexcept : heap_{heap}
    {
        begin(wait(who), what, who);
    }
    /// For a reaper, who waits for nobody. Takes the lock from `dead` even before its sentinel
    /// spoke; 0 = no such lane.
    guard(heap_blocks& heap, actor who, lane_id dead, reach what = reach::blocks) noexcept
        : heap_{heap}
    {
        const auto ask = [&](lane_id lane) {
            return lane == dead || heap.memory_.lanes().is_dead(lane);
        };
        begin(heap_.heap_.lock.lock(who.lane, deadline{}, ask), what, who);
    }
    ~guard()
    {
        if (held_)
            heap_.heap_.lock.unlock();
    }
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;

    [[nodiscard]] bool held() const noexcept { return held_; }
    /// Not held because this member has not attached all memory of the heap.
    [[nodiscard]] bool lacks_memory() const noexcept { return lacks_memory_; }

private:
    [[nodiscard]] lock_result wait(actor who) const noexcept
    {
        if (who.lane == 0)  // a lock without a name would be none
            return lock_result::stalled;
        const auto ask = [&](lane_id lane) { return heap_.memory_.lanes().is_dead(lane); };
        // The clock is read only by who really has to wait.
        const auto result = heap_.heap_.lock.lock(who.lane, deadline{}, ask);
        return result != lock_result::stalled
                   ? result
                   : heap_.heap_.lock.lock(who.lane, deadline_in(patience), ask);
    }
    void begin(lock_result result, reach what, actor who) noexcept
    {
        held_ = result != lock_result::stalled;
        if (result != lock_result::acquired || heap_.heap_.external != 0) [[unlikely]]
            begin_otherwise(result, what, who);
    }
    void begin_otherwise(lock_result result, reach what, actor who) noexcept;  // heap_debts.cpp

    heap_blocks& heap_;
    bool held_ = false;
    bool lacks_memory_ = false;
};

/// Counters have one writer at a time, the holder of the lock.
inline void add(std::atomic<std::uint64_t>& counter, std::uint64_t amount) noexcept
{
    counter.store(counter.load(std::memory_order_relaxed) + amount,
                  std::memory_order_relaxed);  // locked; readers only display it
}

}  // namespace cohort
