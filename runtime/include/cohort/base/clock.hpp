#pragma once
/// Times and deadlines. Every wait in cohort carries a deadline.

#include <chrono>
#include <cstdint>
#include <ctime>

namespace cohort {

using namespace std::chrono_literals;

using steady_clock = std::chrono::steady_clock;
using deadline = steady_clock::time_point;

[[nodiscard]] inline deadline deadline_in(steady_clock::duration wait) noexcept
{
    return steady_clock::now() + wait;
}

/// Milliseconds left, rounded up, never negative: what poll and epoll_wait take.
[[nodiscard]] inline int milliseconds_left(deadline until) noexcept
{
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now());
    return left.count() > 0 ? static_cast<int>(left.count()) : 0;
}

/// CLOCK_MONOTONIC in nanoseconds: the same in all processes of one host, so fit for the region.
[[nodiscard]] inline std::uint64_t monotonic_ns() noexcept
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
           static_cast<std::uint64_t>(now.tv_nsec);
}

/// CLOCK_REALTIME in nanoseconds since 1970: when a packet passed.
[[nodiscard]] inline std::uint64_t wall_clock_ns() noexcept
{
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
           static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace cohort
