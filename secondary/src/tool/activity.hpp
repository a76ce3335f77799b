#pragma once
// What a domain does: its counters at one moment, and rates between two.

#include "cohort/domain/region_layout.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace cohort::tool {

struct ring_counters {
    std::uint32_t position = 0;  ///< of the producer: counts elements, and wraps
    std::uint64_t count = 0;
    std::uint64_t capacity = 0;
    std::uint64_t stalls = 0;
    std::uint64_t drops = 0;
};
struct pool_counters {
    std::uint64_t count = 0;
    std::uint64_t free = 0;
    std::uint64_t failed = 0;
    std::string holder;         ///< the member that holds most
    std::uint64_t holding = 0;  ///< how much that is
};
struct port_counters {
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
    std::uint64_t drops = 0;
};
struct lane_counters {
    std::string name;
    std::string member;
    std::int64_t busy_ns = -1;  ///< time on a processor; -1 when this process cannot see the thread
};

struct snapshot {
    std::uint64_t taken_ns = 0;
    std::map<std::string, ring_counters> rings;
    std::map<std::string, pool_counters> pools;
    std::map<std::string, port_counters> ports;
    std::map<std::uint64_t, lane_counters> lanes;  ///< by generation and number
    std::size_t members = 0;
};

[[nodiscard]] snapshot take_snapshot(const region_layout& region);

/// Rates and levels between two snapshots; what is in one of them only has no rate.
[[nodiscard]] nlohmann::json activity_between(const snapshot& before, const snapshot& now);

/// The same for people: at most `height` lines of at most `width` characters.
[[nodiscard]] std::vector<std::string> screen_of(const std::string& domain,
                                                 const nlohmann::json& activity, std::size_t width,
                                                 std::size_t height);

}  // namespace cohort::tool
