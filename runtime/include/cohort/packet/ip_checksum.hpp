#pragma once
/// Checksums of IPv4, TCP and UDP, in memory and over chains of segments: what rte_ip.h has.
///
/// All values are in host order. Headers are spans that begin with the IP header; one that is too
/// short, or no IP header of that version, has no checksum (nothing is returned).
///
/// *Thread safety*: depends on its arguments alone.
/// *When a process dies here*: nothing was written.

#include "cohort/packet/checksum.hpp"
#include "cohort/packet/mbuf.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace cohort {

/// The checksum over bytes [offset, offset + length) of a packet (rte_raw_cksum_mbuf, inverted);
/// nothing when it is shorter.
[[nodiscard]] std::optional<std::uint16_t> internet_checksum(const mbuf& packet, std::size_t offset,
                                                             std::size_t length) noexcept;

/// What the header's checksum field has to say, whatever it says (rte_ipv4_cksum).
[[nodiscard]] std::optional<std::uint16_t> ipv4_header_checksum(
    std::span<const std::byte> ip) noexcept;
/// Whether it says so.
[[nodiscard]] bool ipv4_header_is_intact(std::span<const std::byte> ip) noexcept;

/// The sum of the pseudo-header of IPv4 or IPv6, not inverted: what a device that computes the rest
/// wants in the L4 checksum field (rte_ipv4_phdr_cksum, rte_ipv6_phdr_cksum). `segmented`: the
/// length counts as 0, as for mbuf_flag::tx_tcp_seg. `headers` are bytes behind the fixed IPv6
/// header that are no payload: extension headers.
struct pseudo_header {
    bool segmented = false;
    std::uint16_t headers = 0;
    std::uint8_t protocol = 0;  ///< 0 = what the header says; else the one behind the extensions
};
[[nodiscard]] std::optional<std::uint16_t> pseudo_header_sum(
    std::span<const std::byte> ip, const pseudo_header& about = {}) noexcept;

/// What the checksum field of TCP or UDP has to say; `l4` runs from that header to the end of the
/// IP payload, and the field in it counts as 0 (rte_ipv4_udptcp_cksum, rte_ipv6_udptcp_cksum). Of
/// UDP never 0. Nothing for other protocols.
[[nodiscard]] std::optional<std::uint16_t> l4_checksum(std::span<const std::byte> ip,
                                                       std::span<const std::byte> l4) noexcept;
/// The same of a chain whose headers are where `set_packet_type` finds them. Nothing for fragments.
[[nodiscard]] std::optional<std::uint16_t> l4_checksum(const mbuf& packet) noexcept;

enum class checksum_state {
    good,
    bad,
    none,     ///< UDP over IPv4 without a checksum
    unknown,  ///< neither TCP nor UDP, a fragment, or cut short
};
/// Looks at the L4 checksum of a packet (rte_ipv4_udptcp_cksum_mbuf_verify and its like).
[[nodiscard]] checksum_state verify_l4_checksum(const mbuf& packet) noexcept;
/// Writes the IPv4 header checksum and the L4 checksum of the outermost headers, those there are.
/// False when a checksum is to be written that does not lie in one segment, or its packet is cut
/// short.
bool fill_checksums(mbuf& packet) noexcept;

}  // namespace cohort
