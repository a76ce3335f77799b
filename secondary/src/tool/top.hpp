#pragma once
// cohort top: the live view of a domain's activity.

#include "cohort/secondary/secondary.hpp"

#include <chrono>
#include <string>

namespace cohort::tool {

struct top_options {
    std::string domain;
    std::chrono::milliseconds interval{1000};
    unsigned rounds = 0;  ///< 0: until q is pressed, or a signal ends the process
    bool json = false;    ///< a line of JSON for each round
};

/// On a terminal the view is drawn in place and follows its size; else each round is printed after
/// the one before. Returns when the domain's last member is gone, too.
void show_top(const secondary::observer& seen, const top_options& options);

}  // namespace cohort::tool
