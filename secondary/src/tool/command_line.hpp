#pragma once
// What the cohort command takes, and what it says of words that it does not know.

#include "capture.hpp"

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace cohort::tool {

struct arguments {
    std::string domain = "default";
    std::string pool;
    std::string svg;
    std::vector<std::string> options;
    std::string listen;
    double interval_s = 1;
    double older_than_s = 0;
    unsigned rounds = 0;
    std::string path;
    std::string member;
    std::string action;
    std::string text;
    unsigned timeout_ms = 1000;
    bool json = false;
    bool dead_only = false;
    bool follow = false;
    bool map = false;
    bool dump = false;
    bool dry_run = false;
    cohort::tool::capture_request capture;
};

/// `given` gets what `program` will parse.
void declare(CLI::App& program, arguments& given);

/// Says in one sentence what is wrong, or prints the help that was asked for; returns the exit
/// code.
[[nodiscard]] int refuse(const CLI::App& program, const CLI::ParseError& wrong);

}  // namespace cohort::tool
