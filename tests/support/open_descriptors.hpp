#pragma once
// How many descriptors a process has open: what a leak shows in.

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <string>

namespace cohort::test {

/// Of the process that /proc calls so: its number, or "self", whose own look counts as one.
[[nodiscard]] inline std::size_t open_descriptors(const std::string& process = "self")
{
    return static_cast<std::size_t>(std::distance(
        std::filesystem::directory_iterator{std::filesystem::path{"/proc"} / process / "fd"},
        std::filesystem::directory_iterator{}));
}

}  // namespace cohort::test
