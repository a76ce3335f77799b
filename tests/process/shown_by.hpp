#pragma once
// What the cohort command prints of the scratch domain.

#include "support/child_process.hpp"

#include <chrono>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

inline std::string shown_by(std::vector<std::string> command)
{
    constexpr std::chrono::seconds limit{30};
    command.insert(command.begin(), {"--domain", "scratch"});
    auto tool = child_process::spawn("cohort", command);
    std::string text;
    while (auto line = tool.read_line(limit))
        text += *line + "\n";
    CHECK(tool.wait(limit) == exit_status{});
    return text;
}

}  // namespace cohort::test
