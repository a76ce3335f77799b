#pragma once
// A measurement: ours and its peers, alternating in one run, and the ratio that must be reached.
//
// A row's ratio is peer/ours for what should be low and ours/peer for what should be high, so that
// above 1 means ahead. All figures are medians over the rounds; min and max show the spread.

#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace cohort::bench {

enum class better { lower, higher };

/// One round of one side; returns the measured value.
using round_of = std::function<double()>;

struct peer {
    std::string name;
    round_of run{};
    std::optional<double> target{};  ///< ratio to reach; none = reported only
};

struct measurement {
    std::string name;
    std::string unit;
    better wanted = better::lower;
    round_of ours{};
    std::vector<peer> peers{};
    std::string pages{};            ///< page size, the same for ours and peers
    std::optional<double> limit{};  ///< what our own median must not pass
    /// Rounds at most, for peers that take very long.
    std::size_t most_rounds = std::numeric_limits<std::size_t>::max();
};

struct spread {
    double median = 0;
    double min = 0;
    double max = 0;
};

struct row {
    std::string name;
    std::string unit;
    better wanted{};
    std::string pages;
    std::size_t rounds = 0;
    spread ours{};
    std::map<std::string, spread> peers{};
    std::map<std::string, double> ratio{};
    std::map<std::string, double> target{};
    std::optional<double> limit{};

    /// Why the row does not hold, or nothing.
    [[nodiscard]] std::string shortfall() const;
};

/// Runs ours, peer, peer, ours, peer, peer ... as often as wanted, or at most allowed, after one
/// round of each to warm up.
[[nodiscard]] row run(const measurement& what, std::size_t wanted_rounds);

[[nodiscard]] std::string table_of(const std::vector<row>& rows);
[[nodiscard]] std::string json_of(const std::vector<row>& rows);

}  // namespace cohort::bench
