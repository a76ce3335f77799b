#pragma once
// What a helper process of a measurement says.

#include "support/child_process.hpp"

#include <chrono>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace cohort::bench {

inline constexpr std::chrono::seconds patience{
    60};  // a DPDK growth waits for a stopped member, twice

/// Its next line. Throws with how `who` ended when there is none.
[[nodiscard]] inline std::string answer_of(test::child_process& child, const std::string& who)
{
    if (auto line = child.read_line(patience))
        return *line;
    const auto end = child.wait(std::chrono::seconds{1});
    throw std::runtime_error{
        fmt::format("{} gave no answer: {}", who, end ? to_string(*end) : "it hangs")};
}

}  // namespace cohort::bench
