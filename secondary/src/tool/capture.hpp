#pragma once
// cohort capture: packets of a port or a ring, into a file or as lines.

#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>

namespace cohort::tool {

struct capture_request {
    std::string name;
    std::string file;  ///< "-" = standard output; empty = lines of text
    bool json = false;
    std::string filter;
    std::uint32_t snap_length = 65'535;
    std::uint64_t count = 0;  ///< 0 = until it is ended
    double seconds = 0;       ///< 0 = until it is ended
};

void declare_capture(CLI::App& program, capture_request& request);

/// Until as many were captured, the time is over, a signal comes, or the port is destroyed. What it
/// captured and missed goes to standard error in one line.
int capture(const std::string& domain, const capture_request& request);

}  // namespace cohort::tool
