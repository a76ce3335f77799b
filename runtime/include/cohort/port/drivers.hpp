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
///   pcap   packets from and to capture files, or an interface through libpcap:
///          "pcap:rx=in.pcap,tx=out.pcap,loops=3", "pcap:rx=in.pcap,rate=1000,tx_iface=veth0"
///
///          rx=FILE        pcap or pcapng, microseconds or nanoseconds; read through at creation
///          loops=N        how often rx is delivered, 1 by default
///          rate=N         of rx: packets a second; "recorded": with the gaps of their time stamps;
///                         by default as fast as they are asked for
///          tx=FILE        made anew, with nanoseconds
///          format=pcapng  of tx; classic pcap by default
///          linktype=N     of tx; by default that of rx, else 1 (Ethernet)
///          rx_iface=NAME  what arrives at an interface, from when a member owns the queue on
///          tx_iface=NAME  sends at one
///          iface=NAME     both
///          promiscuous=1  also what is for other stations
///          snaplen=BYTES  of a packet that are received, or written to a file, at most; 262144 by
///                         default
///
///          An interface is opened by each member for itself, when it becomes the owner of a queue,
///          also after a stop: in the network namespace of its thread, and by its own rights.
///          Frames that arrive between two owners are nobody's; where that matters, af_packet is
///          the driver. libpcap has room for some hundred frames, with a snaplen of 2048 for
///          thousands.
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
///          timestamps=hardware  those of the device's clock. It must stamp all that it receives
///                           (hwstamp_ctl -r 1); by default the kernel does
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
///          offload=1    each frame has a header that says what is left to do. Sent, the kernel
///                       does what tx_tcp_cksum, tx_udp_cksum and tx_tcp_seg ask for, and the port
///                       tx_ip_cksum, without the port's tx_prepare. Received, a frame may lack its
///                       L4 checksum, and has the flags by which whoever sends it on completes it:
///                       a port with tx_prepare, or a tap port with offload=1
///
///   af_xdp   an interface whose frames the kernel writes into the buffers of the rx pool, which
///            lies in one piece of memory and does not grow: "af_xdp:iface=eth0,mode=native"
///
///          iface=NAME      in the network namespace of the process that creates the port
///          queues=N        the first N of the interface, 1 by default
///          mode=skb        the generic hook, by default; the kernel copies
///          mode=native     the hook in the driver, before the kernel makes its own packet; copies

#include "cohort/packet/mbuf.hpp"
#include "cohort/packet/parse.hpp"
#include "cohort/port/port_layout.hpp"
#include "cohort/port/port_link.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>

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
inline constexpr std::size_t offload = 2;
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

inline constexpr std::size_t ethernet_header_bytes = 14;
/// The longest frame of an interface with that MTU: with a VLAN tag.
[[nodiscard]] constexpr std::size_t longest_frame(std::uint32_t mtu) noexcept
{
    return std::size_t{mtu} + ethernet_header_bytes + 4;
}

/// Whether the device does what the flags of a sent packet ask for.
[[nodiscard]] inline bool follows_tx_flags(const port_layout& port) noexcept
{
    return port.driver.view() == "tap" && port.driver_words[tap_word::offload] != 0;
}

/// The longest frames that a device takes, with an Ethernet header: one that goes out as it is, and
/// one that it cuts into segments (tx_tcp_seg).
struct frame_limits {
    std::size_t whole = 0;
    std::size_t cut = 0;

    [[nodiscard]] bool allow(const mbuf& packet) const noexcept
    {
        return packet.pkt_len >= ethernet_header_bytes &&
               packet.pkt_len <= ((packet.ol_flags & mbuf_flag::tx_tcp_seg) != 0 ? cut : whole);
    }
};

/// Nothing where any length goes.
[[nodiscard]] inline std::optional<frame_limits> frame_limits_of(const port_layout& port) noexcept
{
    if (port.mtu == 0 || port.tx_queues == 0)
        return std::nullopt;
    const bool by_packet_socket = port.driver.view() == "af_packet" || port.driver.view() == "pcap";
    const auto whole =
        by_packet_socket ? port.mtu + ethernet_header_bytes : longest_frame(port.mtu);
    return frame_limits{whole, follows_tx_flags(port) ? longest_frame(65'535) : whole};
}

[[nodiscard]] inline bool has_interface(const port_layout& port) noexcept
{
    return port.mtu != 0 || std::any_of(std::begin(port.mac), std::end(port.mac),
                                        [](std::uint8_t byte) { return byte != 0; });
}
/// The interface that a port is at, without a handle, as the calling thread's network namespace
/// shows it. Nothing when none of that name and address is there, or for want of descriptors.
[[nodiscard]] std::optional<port_link> look_at_interface_of(const port_layout& port);

/// Makes the drivers above known to this process. Done when a domain is opened; idempotent.
void register_builtin_drivers();

}  // namespace cohort
