#pragma once
/// What `ol_flags` and `tx_offload` of an mbuf say: the bits and names of rte_mbuf.
///
/// *Thread safety*: constants and arithmetic.
/// *When a process dies here*: nothing is shared.

#include <cstdint>

namespace cohort {

namespace mbuf_flag {

inline constexpr std::uint64_t rx_vlan = 1ull << 0;
inline constexpr std::uint64_t rx_rss_hash = 1ull << 1;
inline constexpr std::uint64_t rx_fdir = 1ull << 2;
inline constexpr std::uint64_t rx_l4_cksum_bad = 1ull << 3;
inline constexpr std::uint64_t rx_ip_cksum_bad = 1ull << 4;
inline constexpr std::uint64_t rx_outer_ip_cksum_bad = 1ull << 5;
inline constexpr std::uint64_t rx_vlan_stripped = 1ull << 6;
inline constexpr std::uint64_t rx_ip_cksum_good = 1ull << 7;
inline constexpr std::uint64_t rx_l4_cksum_good = 1ull << 8;
inline constexpr std::uint64_t rx_ieee1588_ptp = 1ull << 9;
inline constexpr std::uint64_t rx_ieee1588_tmst = 1ull << 10;
inline constexpr std::uint64_t rx_fdir_id = 1ull << 13;
inline constexpr std::uint64_t rx_fdir_flx = 1ull << 14;
inline constexpr std::uint64_t rx_qinq_stripped = 1ull << 15;
inline constexpr std::uint64_t rx_lro = 1ull << 16;
inline constexpr std::uint64_t rx_sec_offload = 1ull << 18;
inline constexpr std::uint64_t rx_sec_offload_failed = 1ull << 19;
inline constexpr std::uint64_t rx_qinq = 1ull << 20;
inline constexpr std::uint64_t rx_outer_l4_cksum_bad = 1ull << 21;
inline constexpr std::uint64_t rx_outer_l4_cksum_good = 1ull << 22;
/// Two bits tell four cases: neither = unknown, both = none (IP) or nothing to check (L4).
inline constexpr std::uint64_t rx_ip_cksum_mask = rx_ip_cksum_bad | rx_ip_cksum_good;
inline constexpr std::uint64_t rx_ip_cksum_none = rx_ip_cksum_mask;
inline constexpr std::uint64_t rx_l4_cksum_mask = rx_l4_cksum_bad | rx_l4_cksum_good;
inline constexpr std::uint64_t rx_l4_cksum_none = rx_l4_cksum_mask;
inline constexpr std::uint64_t rx_outer_l4_cksum_mask =
    rx_outer_l4_cksum_bad | rx_outer_l4_cksum_good;

/// Bits 23 to 40 are given out at run time: see mbuf_dynamic.hpp.
inline constexpr unsigned first_dynamic = 23;
inline constexpr unsigned last_dynamic = 40;

inline constexpr std::uint64_t tx_outer_udp_cksum = 1ull << 41;
inline constexpr std::uint64_t tx_udp_seg = 1ull << 42;
inline constexpr std::uint64_t tx_sec_offload = 1ull << 43;
inline constexpr std::uint64_t tx_macsec = 1ull << 44;
inline constexpr std::uint64_t tx_tunnel_vxlan = 1ull << 45;
inline constexpr std::uint64_t tx_tunnel_gre = 2ull << 45;
inline constexpr std::uint64_t tx_tunnel_ipip = 3ull << 45;
inline constexpr std::uint64_t tx_tunnel_geneve = 4ull << 45;
inline constexpr std::uint64_t tx_tunnel_mplsinudp = 5ull << 45;
inline constexpr std::uint64_t tx_tunnel_vxlan_gpe = 6ull << 45;
inline constexpr std::uint64_t tx_tunnel_gtp = 7ull << 45;
inline constexpr std::uint64_t tx_tunnel_esp = 8ull << 45;
inline constexpr std::uint64_t tx_tunnel_ip = 0xdull << 45;
inline constexpr std::uint64_t tx_tunnel_udp = 0xeull << 45;
inline constexpr std::uint64_t tx_tunnel_mask = 0xfull << 45;
inline constexpr std::uint64_t tx_qinq = 1ull << 49;
inline constexpr std::uint64_t tx_tcp_seg = 1ull << 50;
inline constexpr std::uint64_t tx_ieee1588_tmst = 1ull << 51;
inline constexpr std::uint64_t tx_l4_no_cksum = 0ull << 52;
inline constexpr std::uint64_t tx_tcp_cksum = 1ull << 52;
inline constexpr std::uint64_t tx_sctp_cksum = 2ull << 52;
inline constexpr std::uint64_t tx_udp_cksum = 3ull << 52;
inline constexpr std::uint64_t tx_l4_mask = 3ull << 52;
inline constexpr std::uint64_t tx_ip_cksum = 1ull << 54;
inline constexpr std::uint64_t tx_ipv4 = 1ull << 55;
inline constexpr std::uint64_t tx_ipv6 = 1ull << 56;
inline constexpr std::uint64_t tx_vlan = 1ull << 57;
inline constexpr std::uint64_t tx_outer_ip_cksum = 1ull << 58;
inline constexpr std::uint64_t tx_outer_ipv4 = 1ull << 59;
inline constexpr std::uint64_t tx_outer_ipv6 = 1ull << 60;

/// For the user to read; what counts is mbuf::share.
inline constexpr std::uint64_t external = 1ull << 61;
inline constexpr std::uint64_t indirect = 1ull << 62;

}  // namespace mbuf_flag

/// The parts of `tx_offload`, in bytes; a value that does not fit loses its upper bits.
///
///   bits 0..6   7..15   16..23  24..39     40..48        49..55
///        l2     l3      l4      tso_segsz  outer_l3      outer_l2
struct tx_offload_parts {
    std::uint16_t l2_len = 0;
    std::uint16_t l3_len = 0;
    std::uint16_t l4_len = 0;
    std::uint16_t tso_segsz = 0;
    std::uint16_t outer_l3_len = 0;
    std::uint16_t outer_l2_len = 0;

    friend bool operator==(const tx_offload_parts&, const tx_offload_parts&) = default;

    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        return (std::uint64_t{l2_len} & 0x7f) | (std::uint64_t{l3_len} & 0x1ff) << 7 |
               (std::uint64_t{l4_len} & 0xff) << 16 | std::uint64_t{tso_segsz} << 24 |
               (std::uint64_t{outer_l3_len} & 0x1ff) << 40 |
               (std::uint64_t{outer_l2_len} & 0x7f) << 49;
    }
    [[nodiscard]] static constexpr tx_offload_parts unpack(std::uint64_t word) noexcept
    {
        const auto part = [word](unsigned from, std::uint64_t mask) {
            return static_cast<std::uint16_t>(word >> from & mask);
        };
        return {part(0, 0x7f),    part(7, 0x1ff),  part(16, 0xff),
                part(24, 0xffff), part(40, 0x1ff), part(49, 0x7f)};
    }
};

}  // namespace cohort
