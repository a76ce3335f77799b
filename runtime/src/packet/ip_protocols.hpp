#pragma once

// What both parsers know of the headers: numbers as IANA and IEEE assign them, and lengths.

#include <cstddef>
#include <cstdint>
#include <optional>

namespace cohort::ip_protocol {

inline constexpr std::uint8_t hop_by_hop_options = 0;
inline constexpr std::uint8_t icmp = 1;
inline constexpr std::uint8_t igmp = 2;
inline constexpr std::uint8_t ip_in_ip = 4;
inline constexpr std::uint8_t tcp = 6;
inline constexpr std::uint8_t udp = 17;
inline constexpr std::uint8_t ipv6_in_ip = 41;
inline constexpr std::uint8_t routing_header = 43;
inline constexpr std::uint8_t fragment_header = 44;
inline constexpr std::uint8_t gre = 47;
inline constexpr std::uint8_t esp = 50;
inline constexpr std::uint8_t authentication_header = 51;
inline constexpr std::uint8_t icmpv6 = 58;
inline constexpr std::uint8_t no_next_header = 59;
inline constexpr std::uint8_t destination_options = 60;
inline constexpr std::uint8_t sctp = 132;
inline constexpr std::uint8_t mobility_header = 135;
inline constexpr std::uint8_t host_identity = 139;
inline constexpr std::uint8_t shim6 = 140;

/// Whether a header of that number stands between an IPv6 header and what it carries.
[[nodiscard]] constexpr bool is_extension_header(std::uint8_t number) noexcept
{
    switch (number) {
    case hop_by_hop_options:
    case routing_header:
    case fragment_header:
    case authentication_header:
    case destination_options:
    case mobility_header:
    case host_identity:
    case shim6: return true;
    default: return false;
    }
}

/// Bytes of such a header, from its second byte.
[[nodiscard]] constexpr std::size_t extension_bytes(std::uint8_t number,
                                                    std::uint8_t length_field) noexcept
{
    if (number == fragment_header)
        return 8;
    if (number == authentication_header)  // counts words of 4 bytes, less 2 (RFC 4302)
        return (std::size_t{length_field} + 2) * 4;
    return (std::size_t{length_field} + 1) * 8;
}

/// Where the checksum stands in a header of that protocol; nothing when it has none of this kind.
[[nodiscard]] constexpr std::optional<std::size_t> checksum_offset(std::uint8_t protocol) noexcept
{
    if (protocol == tcp)
        return 16;
    return protocol == udp ? std::optional<std::size_t>{6} : std::nullopt;
}

}  // namespace cohort::ip_protocol

namespace cohort::ether_type {

inline constexpr std::uint16_t ipv4 = 0x0800;
inline constexpr std::uint16_t ipv6 = 0x86dd;
inline constexpr std::uint16_t bridged = 0x6558;  // a frame inside a tunnel
inline constexpr std::uint16_t customer_tag = 0x8100;
inline constexpr std::uint16_t tag_bytes = 4;  // of each

[[nodiscard]] constexpr bool is_vlan_tag(std::uint16_t number) noexcept
{
    return number == customer_tag || number == 0x88a8 || number == 0x9100;
}

}  // namespace cohort::ether_type
