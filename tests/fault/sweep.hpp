#pragma once
// A scenario that is killed at each of its fault points, one process for each.

#include "fault/drawn.hpp"
#include "fault/scenario_points.hpp"
#include "support/child_process.hpp"
#include "support/scale.hpp"

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

[[nodiscard]] inline std::vector<std::string> tried_of(const std::string& scenario)
{
    return drawn(scenario, points_of.at(scenario));
}

/// Runs `once(point)` for each point of a scenario, killed at its first, second ... pass, until it
/// is passed less often. `once` says how the process ended.
template <typename Once>
void sweep(const std::string& scenario, Once once, std::uint64_t reduced = 6)
{
    for (const auto& point : tried_of(scenario))
        DYNAMIC_SECTION(scenario << " killed at " << point)
        {
            const auto most = scaled(reduced, 1000);
            for (std::uint64_t pass = 1; pass <= most; ++pass) {
                INFO("at pass " << pass << " of " << point);
                const auto fault = point + ":" + std::to_string(pass);
                const std::optional<exit_status> ended = once(fault);
                REQUIRE(ended);
                INFO("it ended with " << to_string(*ended));
                if (pass > 1 && *ended == exit_status{})
                    break;  // it does not come here that often
                REQUIRE(*ended == exit_status{.code = 0, .signal = SIGKILL});
            }
        }
}

}  // namespace cohort::test
