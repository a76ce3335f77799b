#pragma once
/// What a packet is made of: the values of `mbuf::packet_type`, as rte_mbuf_ptype.h has them, and
/// the parser that finds them in the bytes, as rte_net_get_ptype does.
///
///   bits 0..3  4..7  8..11  12..15  16..19    20..23    24..27
///        L2    L3    L4     tunnel  inner L2  inner L3  inner L4      0 = not known
///
/// The parser reads through the segments of a chain. It follows VLAN and QinQ tags, MPLS labels
/// (what they carry is not told by the packet, so it ends there), IPv4 with options, IPv6 with
/// extension headers, fragments, and one tunnel: IP in IP, GRE (also NVGRE), VXLAN, VXLAN-GPE,
/// GENEVE and GTP-U, UDP tunnels by their port. It believes no length field that the packet does
/// not bear out: where bytes are missing it ends with what it has.
///
/// *Thread safety*: depends on its arguments alone.
/// *When a process dies here*: nothing was written.

#include "cohort/packet/mbuf.hpp"

#include <cstdint>

namespace cohort {

namespace ptype {

inline constexpr std::uint32_t unknown = 0;
inline constexpr std::uint32_t l2_ether = 0x1;
inline constexpr std::uint32_t l2_ether_timesync = 0x2;
inline constexpr std::uint32_t l2_ether_arp = 0x3;
inline constexpr std::uint32_t l2_ether_lldp = 0x4;
inline constexpr std::uint32_t l2_ether_nsh = 0x5;
inline constexpr std::uint32_t l2_ether_vlan = 0x6;
inline constexpr std::uint32_t l2_ether_qinq = 0x7;
inline constexpr std::uint32_t l2_ether_pppoe = 0x8;
inline constexpr std::uint32_t l2_ether_fcoe = 0x9;
inline constexpr std::uint32_t l2_ether_mpls = 0xa;
inline constexpr std::uint32_t l2_mask = 0xf;
inline constexpr std::uint32_t l3_ipv4 = 0x10;  ///< without options
inline constexpr std::uint32_t l3_ipv4_ext = 0x30;
inline constexpr std::uint32_t l3_ipv6 = 0x40;  ///< without extension headers
inline constexpr std::uint32_t l3_ipv4_ext_unknown = 0x90;
inline constexpr std::uint32_t l3_ipv6_ext = 0xc0;
inline constexpr std::uint32_t l3_ipv6_ext_unknown = 0xe0;
inline constexpr std::uint32_t l3_mask = 0xf0;
inline constexpr std::uint32_t l4_tcp = 0x100;
inline constexpr std::uint32_t l4_udp = 0x200;
inline constexpr std::uint32_t l4_frag = 0x300;  ///< any fragment, the first included
inline constexpr std::uint32_t l4_sctp = 0x400;
inline constexpr std::uint32_t l4_icmp = 0x500;
inline constexpr std::uint32_t l4_nonfrag = 0x600;  ///< whole, of another protocol
inline constexpr std::uint32_t l4_igmp = 0x700;
inline constexpr std::uint32_t l4_mask = 0xf00;
inline constexpr std::uint32_t tunnel_ip = 0x1000;
inline constexpr std::uint32_t tunnel_gre = 0x2000;
inline constexpr std::uint32_t tunnel_vxlan = 0x3000;
inline constexpr std::uint32_t tunnel_nvgre = 0x4000;
inline constexpr std::uint32_t tunnel_geneve = 0x5000;
inline constexpr std::uint32_t tunnel_grenat = 0x6000;
inline constexpr std::uint32_t tunnel_gtpc = 0x7000;
inline constexpr std::uint32_t tunnel_gtpu = 0x8000;
inline constexpr std::uint32_t tunnel_esp = 0x9000;
inline constexpr std::uint32_t tunnel_l2tp = 0xa000;
inline constexpr std::uint32_t tunnel_vxlan_gpe = 0xb000;
inline constexpr std::uint32_t tunnel_mpls_in_gre = 0xc000;
inline constexpr std::uint32_t tunnel_mpls_in_udp = 0xd000;
inline constexpr std::uint32_t tunnel_mask = 0xf000;
inline constexpr std::uint32_t inner_l2_ether = 0x1'0000;
inline constexpr std::uint32_t inner_l2_ether_vlan = 0x2'0000;
inline constexpr std::uint32_t inner_l2_ether_qinq = 0x3'0000;
inline constexpr std::uint32_t inner_l2_mask = 0xf'0000;
inline constexpr std::uint32_t inner_l3_ipv4 = 0x10'0000;
inline constexpr std::uint32_t inner_l3_ipv4_ext = 0x20'0000;
inline constexpr std::uint32_t inner_l3_ipv6 = 0x30'0000;
inline constexpr std::uint32_t inner_l3_ipv4_ext_unknown = 0x40'0000;
inline constexpr std::uint32_t inner_l3_ipv6_ext = 0x50'0000;
inline constexpr std::uint32_t inner_l3_ipv6_ext_unknown = 0x60'0000;
inline constexpr std::uint32_t inner_l3_mask = 0xf0'0000;
inline constexpr std::uint32_t inner_l4_tcp = 0x100'0000;
inline constexpr std::uint32_t inner_l4_udp = 0x200'0000;
inline constexpr std::uint32_t inner_l4_frag = 0x300'0000;
inline constexpr std::uint32_t inner_l4_sctp = 0x400'0000;
inline constexpr std::uint32_t inner_l4_icmp = 0x500'0000;
inline constexpr std::uint32_t inner_l4_nonfrag = 0x600'0000;
inline constexpr std::uint32_t inner_l4_mask = 0xf00'0000;
inline constexpr std::uint32_t all = 0x0fff'ffff;

}  // namespace ptype

/// Bytes of each header; 0 = not there. What is not 0 lies inside the packet, one after the other.
struct header_lengths {
    std::uint16_t l2 = 0;  ///< with tags and labels
    std::uint16_t l3 = 0;  ///< with options or extension headers
    std::uint16_t l4 = 0;  ///< 0 of a fragment
    std::uint16_t tunnel = 0;
    std::uint16_t inner_l2 = 0;
    std::uint16_t inner_l3 = 0;
    std::uint16_t inner_l4 = 0;

    friend bool operator==(const header_lengths&, const header_lengths&) = default;
    [[nodiscard]] std::uint32_t sum() const noexcept
    {
        return std::uint32_t{l2} + l3 + l4 + tunnel + inner_l2 + inner_l3 + inner_l4;
    }
};

struct packet_classes {
    std::uint32_t type = ptype::unknown;
    header_lengths lengths{};

    friend bool operator==(const packet_classes&, const packet_classes&) = default;
};

/// Finds the classes of an Ethernet frame. Any bytes will do. Classes outside `layers` are not
/// reported, and what lies behind the last of them is not read.
[[nodiscard]] packet_classes classify(const mbuf& packet,
                                      std::uint32_t layers = ptype::all) noexcept;

/// Writes what `classify` says into `packet_type` and the lengths of `tx_offload`; returns the
/// type. With a tunnel the lengths are the inner ones and `outer_l2_len`, `outer_l3_len` the outer,
/// `l2_len` has the tunnel's headers in it, as tx offloads want it.
std::uint32_t set_packet_type(mbuf& packet) noexcept;

}  // namespace cohort
