#pragma once
/// Times and deadlines. Every wait in cohort carries a deadline.

#include <chrono>
#include <cstdint>
#include <ctime>
#include <limits>

namespace cohort {

using namespace std::chrono_literals;

using steady_clock = std::chrono::steady_clock;
using deadline = steady_clock::time_point;

/// A wait that begins then. As long as the clock counts, when it would be longer.
[[nodiscard]] inline deadline deadline_after(deadline start, steady_clock::duration wait) noexcept
{
    return wait > deadline::max() - start ? deadline::max() : start + wait;
}
[[nodiscard]] inline deadline deadline_in(steady_clock::duration wait) noexcept
{
    return deadline_after(steady_clock::now(), wait);
}

/// Milliseconds left, rounded up, never negative and at most INT_MAX: what poll and epoll_wait
/// take.
[[nodiscard]] inline int milliseconds_left(deadline until) noexcept
{
    using std::chrono::milliseconds;
    constexpr milliseconds longest{std::numeric_limits<int>::max()};
    const auto now = steady_clock::now();
    if (until <= now)
        return 0;
    const auto left =
        until - now < longest ? std::chrono::ceil<milliseconds>(until - now) : longest;
    return static_cast<int>(left.count());
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
