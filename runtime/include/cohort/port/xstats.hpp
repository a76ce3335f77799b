#pragma once
/// Counters of a port by name and by number, under the names that rte_eth_xstats_get_names gives to
/// those that every ethdev has. Numbers stay the same as long as the port lives:
///
///   0 .. 7      rx_good_packets tx_good_packets rx_good_bytes tx_good_bytes rx_missed_errors
///               rx_errors tx_errors rx_mbuf_allocation_errors
///   then        rx_qN_packets rx_qN_bytes rx_qN_errors of each rx queue N
///   then        tx_qN_packets tx_qN_bytes of each tx queue N
///
/// rx_mbuf_allocation_errors counts bursts that were cut short for want of buffers. All start anew
/// with `port::reset_stats`.
///
/// *Thread safety*: any thread.
/// *When a process dies here*: nothing is written.

#include "cohort/port/port.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

struct xstat {
    std::string name;
    std::uint64_t value = 0;
};

[[nodiscard]] std::vector<xstat> xstats(const port& of);
/// The same without a handle. What only the device knows is as it was last asked.
[[nodiscard]] std::vector<xstat> xstats(const port_layout& of);
/// Nothing when no counter has that number or name.
[[nodiscard]] std::optional<std::uint64_t> xstat_by_id(const port& of, std::size_t id);
[[nodiscard]] std::optional<std::size_t> find_xstat(const port& of, std::string_view name);

/// As many as a port can have, whatever stands there: for who reads without a lock.
[[nodiscard]] std::span<const port_queue_layout> queues_of(const port_layout& port,
                                                           port_direction direction) noexcept;
/// Since the last reset, as it lies in the region: of one queue, and of all of a direction.
[[nodiscard]] port_stats stats_of(const port_queue_layout& queue) noexcept;
[[nodiscard]] port_stats stats_of(const port_layout& port, port_direction direction) noexcept;

}  // namespace cohort
