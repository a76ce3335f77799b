#pragma once

// The other end of child_process, for helper programs: one line says how far the program is, one
// line tells it to go on. Tests synchronise on these lines and never on time.

#include <iostream>
#include <string>
#include <string_view>

namespace cohort::test {

/// Prints `line` and flushes: the test's `await(line)` returns.
inline void say(std::string_view line)
{
    std::cout << line << std::endl;
}

/// Blocks until the test calls `tell`; "" when the test is gone.
[[nodiscard]] inline std::string hear()
{
    std::string line;
    std::getline(std::cin, line);
    return line;
}

}  // namespace cohort::test
