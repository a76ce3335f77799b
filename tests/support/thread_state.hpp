#pragma once

// What a thread does at this moment, as the kernel says.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

namespace cohort::test {

/// Of a thread as a directory of /proc: 'R' when it runs, 'S' when it sleeps, 'T' when it is
/// stopped ('t' by a tracer). Nothing when it has ended.
[[nodiscard]] inline std::optional<char> thread_state(const std::filesystem::path& thread)
{
    std::ifstream file{thread / "stat"};
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    const auto name_end = text.rfind(") ");  // before it a name of any characters
    if (name_end == std::string::npos)
        return std::nullopt;
    return text.at(name_end + 2);
}

}  // namespace cohort::test
