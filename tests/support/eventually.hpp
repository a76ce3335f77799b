#pragma once
// Waiting for another process, without a lucky sleep: until it is so, or the deadline fails the
// test.

#include <chrono>
#include <thread>

namespace cohort::test {

template <typename Condition>
[[nodiscard]] bool eventually(Condition&& condition,
                              std::chrono::milliseconds patience = std::chrono::milliseconds{
                                  20'000})
{
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= until)
            return false;
        std::this_thread::sleep_for(std::chrono::microseconds{200});
    }
    return true;
}

}  // namespace cohort::test
