#pragma once
/// The drivers that come with cohort.
///
///   pcap   packets from and to capture files: "pcap:rx=in.pcap,tx=out.pcap,loops=3"
///
///          rx=FILE      pcap or pcapng, microseconds or nanoseconds; read through at creation
///          loops=N      how often rx is delivered, 1 by default
///          tx=FILE      made anew as classic pcap with nanoseconds
///          linktype=N   of tx; by default that of rx, else 1 (Ethernet)

#include <cstddef>

namespace cohort {

/// What the pcap driver keeps in port_layout::driver_words, from creation on.
namespace pcap_word {
inline constexpr std::size_t rx_link_type = 0;  ///< LINKTYPE_ number, as parse() takes it
inline constexpr std::size_t rx_snap_length = 1;
inline constexpr std::size_t rx_packets = 2;  ///< in the file
inline constexpr std::size_t rx_loops = 3;
inline constexpr std::size_t rx_truncated = 4;  ///< 1 = the file ends inside a record
inline constexpr std::size_t tx_link_type = 5;
}  // namespace pcap_word

/// Makes the drivers above known to this process. Done when a domain is opened; idempotent.
void register_builtin_drivers();

}  // namespace cohort
