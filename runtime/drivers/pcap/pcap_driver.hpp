#pragma once
/// The pcap port: capture files as a network.
///
///   rx queue 0   position = packets of the file read so far, counted over all loops
///   tx queue 0   position = bytes of the file that count
///
/// Packets cross the port exactly once, also when the process at a queue is killed and another
/// carries on: see port/burst_journal.hpp. A packet for which the pool has no buffer is read again
/// at the next burst. One that could never fit into the pool is counted as an error and left out,
/// as is the last record of a file that ends inside it.
///
/// A packet longer than one buffer becomes a chain. What the capture had cut off shows in wire_len.

namespace cohort {

/// Once per process; see register_builtin_drivers.
void register_pcap_driver();

}  // namespace cohort
