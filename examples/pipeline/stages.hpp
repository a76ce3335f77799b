#pragma once
/// The subcommands of `pipeline`. Each attaches, does its part, and returns the exit code.

#include "stage.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace pipeline {

struct setup_options {
    std::string domain = "default";
    std::string input;
    std::string output;
    unsigned workers = 2;
    std::uint32_t loops = 1;
};
/// Creates pool, rings, port and memzone, and leaves: objects outlive their creator.
int set_up(const setup_options& options);

/// Capture file to rings, one ring a flow.
int run_reader(const stage_options& options);
/// Ring to ring, lowering the TTL by one. Holds each burst for `linger` before it hands it on: a
/// slow worker, that can be caught in a short run.
int run_worker(const stage_options& options, unsigned index, std::chrono::microseconds linger);
/// Ring to capture file.
int run_writer(const stage_options& options);

struct await_options {
    std::string domain = "default";
    std::string victim;          ///< member name
    unsigned after_percent = 0;  ///< of all packets written
    bool kill = false;
    std::chrono::milliseconds timeout{30'000};
};
/// Waits until that much is written and the victim holds some; then kills it, if asked.
int await_holding(const await_options& options);

struct report_options {
    std::string domain = "default";
    bool json = false;
};
/// Prints what the region knows of the run.
int report(const report_options& options);

}  // namespace pipeline
