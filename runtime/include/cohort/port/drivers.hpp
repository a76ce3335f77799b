#pragma once
/// The drivers that come with cohort.
///
///   null   packets from nowhere and to nowhere: "null:size=64,queues=2"
///
///          size=BYTES   of each received packet, 64 by default
///          copy=1       the bytes are copied, from and to
///          no-rx=1      nothing is received
///          queues=N     in each direction, 1 by default
///
///   pcap   packets from and to capture files: "pcap:rx=in.pcap,tx=out.pcap,loops=3"
///
///          rx=FILE      pcap or pcapng, microseconds or nanoseconds; read through at creation
///          loops=N      how often rx is delivered, 1 by default
///          tx=FILE      made anew as classic pcap with nanoseconds
///          linktype=N   of tx; by default that of rx, else 1 (Ethernet)
///
///   ring   rings of mbufs as queues: "ring:rx=in,tx=out"
///
///          rx=NAME      a ring that exists; once for each queue
///          tx=NAME      the same
///
///   af_packet   an interface of the kernel: "af_packet:iface=veth0,queues=2". Its descriptors are
///               frames of mapped rings: a multiple of what fits into 64 KiB.
///
///          iface=NAME       in the network namespace of the process that creates the port
///          queues=N         in each direction, 1 by default; arrivals are spread by flow
///          promiscuous=1    also what is for other stations; ends with the port
///          qdisc_bypass=0   send through the queueing discipline, which is left out by default
///
///   tap   an interface that the kernel makes: "tap:iface=tap0,queues=2". The number of descriptors
///         is noted and no more: how many frames wait is the interface's txqueuelen.
///
///          iface=NAME   made in the network namespace of the process that creates the port, or
///                       there already, of the kind multi_queue and used by nobody
///          queues=N     in each direction, 1 by default; the kernel spreads by flow
///          persist=1    it stays when the port has gone
///          mac=A:B:...  of the interface, which is the other side; by default the kernel chooses
///          mtu=BYTES    68 to 65521; as it is by default

#include "cohort/packet/parse.hpp"
#include "cohort/port/port_layout.hpp"

#include <cstddef>

namespace cohort {

/// What the null driver keeps in port_layout::driver_words.
namespace null_word {
inline constexpr std::size_t packet_size = 0;
inline constexpr std::size_t copy = 1;
inline constexpr std::size_t no_rx = 2;
}  // namespace null_word

/// What the af_packet driver keeps in port_layout::driver_words.
namespace af_packet_word {
inline constexpr std::size_t frame_bytes = 0;
inline constexpr std::size_t block_bytes = 1;
inline constexpr std::size_t rx_frames = 2;  ///< of each queue
inline constexpr std::size_t tx_frames = 3;
inline constexpr std::size_t interface_index = 4;
}  // namespace af_packet_word

/// What the tap driver keeps in port_layout::driver_words.
namespace tap_word {
inline constexpr std::size_t persist = 0;
inline constexpr std::size_t interface_index = 1;
}  // namespace tap_word

/// What the pcap driver keeps in port_layout::driver_words, from creation on.
namespace pcap_word {
inline constexpr std::size_t rx_link_type = 0;  ///< LINKTYPE_ number, as parse() takes it
inline constexpr std::size_t rx_snap_length = 1;
inline constexpr std::size_t rx_packets = 2;  ///< in the file
inline constexpr std::size_t rx_loops = 3;
inline constexpr std::size_t rx_truncated = 4;  ///< 1 = the file ends inside a record
inline constexpr std::size_t tx_link_type = 5;
inline constexpr std::size_t tx_mark = 6;  ///< of its lock: see pcap_writer.hpp
}  // namespace pcap_word

/// What the bytes that a port receives begin with.
[[nodiscard]] inline link_type rx_link_of(const port_layout& port) noexcept
{
    return port.driver.view() == "pcap"
               ? static_cast<link_type>(port.driver_words[pcap_word::rx_link_type])
               : link_type::ethernet;
}

/// Makes the drivers above known to this process. Done when a domain is opened; idempotent.
void register_builtin_drivers();

}  // namespace cohort
