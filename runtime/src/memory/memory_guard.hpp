#pragma once
// The memory lock for a scope; taken over from a dead holder, pages are repaired first.

#include "cohort/base/error.hpp"
#include "cohort/memory/memory.hpp"

#include <utility>

#include <fmt/format.h>

namespace cohort {

class memory::guard {
public:
    static constexpr std::chrono::seconds patience{5};

    guard(memory& segments, actor who) noexcept : guard{segments, who, deadline_in(patience)} {}
    guard(memory& segments, actor who, deadline until) noexcept : memory_{segments}
    {
        if (who.lane == 0)  // a lock without a name would be none
            return;
        const auto ask = [&](lane_id lane) { return memory_.lanes_.is_dead(lane); };
        begin(memory_.layout_.lock.lock(who.lane, until, ask));
    }
    /// For a reaper, who waits for nobody. Takes the lock from `dead` even before its sentinel
    /// spoke.
    guard(memory& segments, actor who, lane_id dead) noexcept : memory_{segments}
    {
        const auto ask = [&](lane_id lane) { return lane == dead || memory_.lanes_.is_dead(lane); };
        begin(memory_.layout_.lock.lock(who.lane, deadline{}, ask));
    }
    ~guard()
    {
        if (held_)
            memory_.layout_.lock.unlock();
    }
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;

    [[nodiscard]] bool held() const noexcept { return held_; }
    /// Whether it is held; if so, the caller unlocks it, and not this.
    [[nodiscard]] bool keep() noexcept { return std::exchange(held_, false); }
    /// Throws `errc::stalled`, naming the holder.
    void require() const
    {
        if (!held_)
            throw error{
                errc::stalled,
                fmt::format("the memory lock is held by live lane {} for more than {} s; see "
                            "\"cohort lanes\"",
                            memory_.layout_.lock.holder(), patience.count())};
    }

private:
    void begin(lock_result result) noexcept
    {
        held_ = result != lock_result::stalled;
        if (result == lock_result::taken_over)
            memory_.supply_.repair();
    }

    memory& memory_;
    bool held_ = false;
};

}  // namespace cohort
