#pragma once
// Whether who reads an inbox sleeps beside a message.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/clock.hpp"
#include "cohort/domain/domain.hpp"
#include "cohort/ipc/message.hpp"
#include "support/eventually.hpp"
#include "support/thread_state.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/types.h>

namespace cohort::test {

/// The directory in /proc of the thread that has the lane of this name. Waits for it: a dispatcher
/// takes its lane when it starts.
[[nodiscard]] inline std::filesystem::path thread_of(domain& seen, member_id member, pid_t pid,
                                                     std::string_view lane_name)
{
    const auto is_it = [&](const lane_layout& lane) {
        return lane.word().member == member && lane.name.view() == lane_name;
    };
    const auto& lanes = seen.region().members.lanes;
    REQUIRE(eventually([&] { return std::ranges::any_of(lanes, is_it); }));
    const auto thread = std::filesystem::path{"/proc"} / std::to_string(pid) / "task" /
                        std::to_string(std::ranges::find_if(lanes, is_it)->tid);
    REQUIRE(thread_state(thread));
    return thread;
}

class inbox_watch {
public:
    /// `threads`: those that take messages out of it; and those that put them in, unless they are
    /// the caller's, for one that is kept from running may have to ring yet.
    inbox_watch(domain& seen, member_id member, std::vector<std::filesystem::path> threads)
        : inbox_{seen.find_ring<ipc::message_layout*>("cohort.inbox." + std::to_string(member))
                     .value()}
        , threads_{std::move(threads)}
    {
    }

    /// Until what lies there first is taken. True when all threads sleep instead (ten times, a
    /// millisecond apart, the same message lies there and they sleep), or none has taken it for
    /// 20 s, for whatever reason.
    [[nodiscard]] bool misses_one() const
    {
        const auto first = position();
        const auto is_taken = [&] { return inbox_.empty() || position() != first; };
        const auto soon = steady_clock::now() + 1ms;
        while (!is_taken() && steady_clock::now() < soon)
            cpu_relax();
        const auto late = soon + 20s;
        for (int slept = 0; slept != 10 && steady_clock::now() < late;
             std::this_thread::sleep_for(1ms)) {
            if (is_taken())
                return false;
            slept = all_sleep() ? slept + 1 : 0;
        }
        return true;
    }

private:
    [[nodiscard]] std::uint32_t position() const noexcept
    {
        return inbox_.layout().consumer.load().position;
    }
    [[nodiscard]] bool all_sleep() const
    {
        return std::ranges::all_of(threads_,
                                   [](const auto& each) { return thread_state(each) == 'S'; });
    }

    ring<ipc::message_layout*> inbox_;
    std::vector<std::filesystem::path> threads_;
};

inline void spin_for(std::chrono::nanoseconds time)
{
    const auto until = steady_clock::now() + time;
    while (steady_clock::now() < until)
        cpu_relax();
}

}  // namespace cohort::test
