#pragma once
/// The pcap port: what libpcap reads and writes as a network, in each direction a file
/// (pcap_file.hpp) or an interface (pcap_live.hpp).
///
/// A packet for which the pool has no buffer is delivered at the next burst. One that could never
/// fit into the pool is counted as an error and left out, as is the last record of a file that ends
/// inside it.
///
/// A packet longer than one buffer becomes a chain. What the capture had cut off shows in wire_len.

namespace cohort {

/// Once per process; see register_builtin_drivers.
void register_pcap_driver();

}  // namespace cohort
