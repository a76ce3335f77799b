#pragma once

// The fault points that stand in the sources.

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace cohort::test {

/// The name on a line that is a fault point, else nothing.
[[nodiscard]] inline std::string point_on(const std::string& line)
{
    static const std::string call = "COHORT_FAULT_POINT(\"";
    const auto start = line.find_first_not_of(' ');
    if (start == std::string::npos || line.compare(start, call.size(), call) != 0)
        return {};
    const auto name = start + call.size();
    return line.substr(name, line.find('"', name) - name);
}

/// All of them, in the sources that the tests were built of.
[[nodiscard]] inline std::set<std::string> points_in_sources()
{
    std::set<std::string> found;
    for (const auto* room : {"runtime", "ipc", "primary", "secondary"})
        for (const auto& file : std::filesystem::recursive_directory_iterator{
                 std::filesystem::path{COHORT_SOURCE_ROOT} / room}) {
            if (file.path().extension() != ".cpp" && file.path().extension() != ".hpp")
                continue;
            std::ifstream source{file.path()};
            for (std::string line; std::getline(source, line);)
                if (const auto point = point_on(line); !point.empty())
                    found.insert(point);
        }
    return found;
}

}  // namespace cohort::test
