#pragma once
// Waiting for another process, without a lucky sleep: until it is so, or the deadline fails the
// test.

#include <chrono>
#include <thread>

namespace cohort::test {

/// For what another process does, on a machine that may be busy.
inline constexpr std::chrono::milliseconds patience{30'000};

template <typename Condition>
[[nodiscard]] bool eventually(Condition&& condition, std::chrono::milliseconds within = patience)
{
    const auto until = std::chrono::steady_clock::now() + within;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= until)
            return false;
        std::this_thread::sleep_for(std::chrono::microseconds{200});
    }
    return true;
}

}  // namespace cohort::test
