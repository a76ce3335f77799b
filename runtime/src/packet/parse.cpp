#include "cohort/packet/parse.hpp"

#include "cohort/packet/checksum.hpp"
#include "ip_protocols.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

namespace cohort {
namespace {

using namespace ip_protocol;

using bytes_view = std::span<const std::byte>;
using detail::load_be16;

constexpr std::size_t ipv4_header_bytes = 20;
constexpr std::size_t ipv6_header_bytes = 40;
constexpr std::size_t mac_address_bytes = 6;

/// Whether bytes [offset, offset + count) are there; written so that nothing can overflow.
bool holds(bytes_view bytes, std::size_t offset, std::size_t count) noexcept
{
    return offset <= bytes.size() && count <= bytes.size() - offset;
}

std::uint8_t load_u8(bytes_view bytes, std::size_t offset) noexcept
{
    return std::to_integer<std::uint8_t>(bytes[offset]);
}

// ---- Link layer ----

/// How the link header is laid out; without a type field the IP version tells what follows.
struct link_format {
    std::uint16_t header_bytes;
    std::optional<std::uint16_t> type_offset;
};

std::optional<link_format> format_of(link_type link) noexcept
{
    switch (link) {
    case link_type::ethernet: return link_format{14, 12};
    case link_type::linux_sll: return link_format{16, 14};
    case link_type::linux_sll2: return link_format{20, 0};
    // The family number of IPv6 differs from system to system and its byte order from machine to
    // machine; the version nibble behind it does not.
    case link_type::null:
    case link_type::loop: return link_format{4, std::nullopt};
    case link_type::raw:
    case link_type::dlt_raw:
    case link_type::ipv4:
    case link_type::ipv6: return link_format{0, std::nullopt};
    }
    return std::nullopt;
}

std::uint16_t ether_type_by_version(link_type link, std::uint8_t first_byte) noexcept
{
    const unsigned version = first_byte >> 4;
    if (version == 4 && link != link_type::ipv6)
        return ether_type::ipv4;
    if (version == 6 && link != link_type::ipv4)
        return ether_type::ipv6;
    return 0;
}

void read_link(parsed_packet& packet, bytes_view bytes) noexcept
{
    const auto format = format_of(packet.link);
    if (!format)
        return;
    // Without a type field the first byte behind the header is needed too, for the version.
    if (!holds(bytes, format->header_bytes, format->type_offset ? 0 : 1)) {
        packet.truncated = true;
        return;
    }
    packet.l2_length = format->header_bytes;
    packet.ether_type =
        format->type_offset
            ? load_be16(bytes, *format->type_offset)
            : ether_type_by_version(packet.link, load_u8(bytes, format->header_bytes));
}

void read_vlan_tags(parsed_packet& packet, bytes_view bytes) noexcept
{
    while (ether_type::is_vlan_tag(packet.ether_type) && packet.vlan_count < max_vlan_tags) {
        if (!holds(bytes, packet.l2_length, ether_type::tag_bytes)) {
            packet.truncated = true;
            return;
        }
        packet.vlan_tci = load_be16(bytes, packet.l2_length);
        if (packet.vlan_count == 0)
            packet.vlan_tci_outer = packet.vlan_tci;
        packet.ether_type = load_be16(bytes, std::size_t{packet.l2_length} + 2);
        packet.l2_length = static_cast<std::uint16_t>(packet.l2_length + ether_type::tag_bytes);
        ++packet.vlan_count;
    }
    if (packet.vlan_count < 2)
        packet.vlan_tci_outer = 0;
}

// ---- Transport ----

l4_kind l4_kind_of(std::uint8_t protocol) noexcept
{
    switch (protocol) {
    case icmp: return l4_kind::icmp;
    case tcp: return l4_kind::tcp;
    case udp: return l4_kind::udp;
    case icmpv6: return l4_kind::icmpv6;
    case no_next_header: return l4_kind::none;
    default: return l4_kind::other;
    }
}

std::size_t fixed_header_bytes(l4_kind kind) noexcept
{
    switch (kind) {
    case l4_kind::tcp: return 20;
    case l4_kind::udp: return 8;
    case l4_kind::icmp: return 8;
    case l4_kind::icmpv6: return 4;
    case l4_kind::none:
    case l4_kind::other: break;
    }
    return 0;
}

/// `ip` ends where the IP packet does, so that ports are never read from link padding.
void read_l4(parsed_packet& packet, bytes_view ip, std::uint8_t protocol) noexcept
{
    packet.l4 = l4_kind_of(protocol);
    const std::size_t offset = packet.l4_offset();
    packet.truncated = !holds(ip, offset, fixed_header_bytes(packet.l4));

    const bool has_ports = packet.l4 == l4_kind::tcp || packet.l4 == l4_kind::udp;
    if (has_ports && holds(ip, offset, 4)) {
        packet.src_port = load_be16(ip, offset);
        packet.dst_port = load_be16(ip, offset + 2);
    }
}

// ---- IP ----

/// The packet up to the end of its IP datagram: what follows is link padding. A length of 0 is left
/// by segmentation offload and by jumbograms; there the datagram is all there is.
bytes_view without_padding(const parsed_packet& packet, bytes_view bytes, std::size_t fixed_bytes,
                           std::size_t length_field) noexcept
{
    if (length_field == 0)
        return bytes;
    return bytes.first(std::min(bytes.size(), packet.l3_offset() + fixed_bytes + length_field));
}

/// Grows the IP header by `count` bytes if they are there; else takes what is left and says so.
bool extend_l3(parsed_packet& packet, bytes_view ip, std::size_t count) noexcept
{
    const std::size_t at = packet.l4_offset();
    const bool fits = holds(ip, at, count);
    const std::size_t taken = fits ? count : ip.size() - std::min(ip.size(), at);
    packet.l3_length = static_cast<std::uint16_t>(packet.l3_length + taken);
    packet.truncated |= !fits;
    return fits;
}

void read_ipv4(parsed_packet& packet, bytes_view bytes) noexcept
{
    const std::size_t at = packet.l3_offset();
    if (!holds(bytes, at, ipv4_header_bytes)) {
        packet.truncated = true;
        return;
    }
    const unsigned header_bytes = (load_u8(bytes, at) & 0xfU) * 4;
    if (load_u8(bytes, at) >> 4 != 4 || header_bytes < ipv4_header_bytes)
        return;

    const auto fragment_field = load_be16(bytes, at + 6);
    packet.l3 = l3_kind::ipv4;
    packet.l3_length = ipv4_header_bytes;
    packet.protocol = load_u8(bytes, at + 9);
    packet.is_fragment = (fragment_field & 0x3fff) != 0;  // more fragments, or an offset

    const auto ip = without_padding(packet, bytes, 0, load_be16(bytes, at + 2));
    const bool is_first = (fragment_field & 0x1fff) == 0;
    if (extend_l3(packet, ip, header_bytes - ipv4_header_bytes) && is_first)
        read_l4(packet, ip, packet.protocol);
}

/// Walks the extension headers that start with number `next` and returns the number of the header
/// behind them; nothing if the bytes end before, or if this fragment does not hold it.
std::optional<std::uint8_t> read_extension_headers(parsed_packet& packet, bytes_view ip,
                                                   std::uint8_t next) noexcept
{
    packet.protocol = next;
    for (unsigned i = 0; i != max_extension_headers && is_extension_header(next); ++i) {
        const std::size_t at = packet.l4_offset();
        if (!holds(ip, at, 8)) {
            packet.truncated = true;
            return std::nullopt;
        }
        const auto fragment_field = next == fragment_header ? load_be16(ip, at + 2) : 0U;
        const auto length = extension_bytes(next, load_u8(ip, at + 1));
        next = load_u8(ip, at);
        if (!packet.is_fragment)  // from here on the protocol is the one all fragments share
            packet.protocol = next;
        packet.is_fragment |= (fragment_field & 0xfff9) != 0;
        if (!extend_l3(packet, ip, length) || (fragment_field & 0xfff8) != 0)
            return std::nullopt;
    }
    return is_extension_header(next) ? std::nullopt : std::optional{next};
}

void read_ipv6(parsed_packet& packet, bytes_view bytes) noexcept
{
    const std::size_t at = packet.l3_offset();
    if (!holds(bytes, at, ipv6_header_bytes)) {
        packet.truncated = true;
        return;
    }
    if (load_u8(bytes, at) >> 4 != 6)
        return;

    packet.l3 = l3_kind::ipv6;
    packet.l3_length = ipv6_header_bytes;
    const auto ip = without_padding(packet, bytes, ipv6_header_bytes, load_be16(bytes, at + 4));
    if (const auto protocol = read_extension_headers(packet, ip, load_u8(bytes, at + 6)))
        read_l4(packet, ip, *protocol);
}

// ---- Flows ----

bytes_view address(const parsed_packet& packet, bytes_view bytes, bool source) noexcept
{
    const bool v4 = packet.l3 == l3_kind::ipv4;
    const std::size_t length = v4 ? 4 : 16;
    const std::size_t offset = packet.l3_offset() + (v4 ? 12 : 8) + (source ? 0 : length);
    if (packet.l3 == l3_kind::none || !holds(bytes, offset, length))
        return {};
    return bytes.subspan(offset, length);
}

/// Multiply and shift until each bit of `value` has reached all others. The factor is 2^64 divided
/// by the golden ratio (Fibonacci hashing).
constexpr std::uint64_t mix(std::uint64_t value) noexcept
{
    constexpr std::uint64_t factor = 0x9e37'79b9'7f4a'7c15;
    value = (value ^ value >> 32) * factor;
    value = (value ^ value >> 29) * factor;
    return value ^ value >> 32;
}

std::uint64_t mix_endpoint(const std::array<std::byte, 16>& address, std::uint16_t port) noexcept
{
    std::array<std::uint64_t, 2> halves{};
    std::memcpy(halves.data(), address.data(), address.size());
    return mix(mix(halves[0] + port) + halves[1]);
}

/// Adding makes the two ends interchangeable, and unlike xor does not cancel when they are equal.
std::uint32_t combine(std::uint64_t one_end, std::uint64_t other_end, std::uint64_t rest) noexcept
{
    return static_cast<std::uint32_t>(mix(one_end + other_end + rest) >> 32);
}

std::uint32_t link_hash(const parsed_packet& packet, bytes_view bytes) noexcept
{
    if (packet.link != link_type::ethernet || !holds(bytes, 0, 2 * mac_address_bytes))
        return 0;
    std::array<std::uint64_t, 2> addresses{};
    std::memcpy(&addresses[0], bytes.data(), mac_address_bytes);
    std::memcpy(&addresses[1], bytes.data() + mac_address_bytes, mac_address_bytes);
    return combine(mix(addresses[0]), mix(addresses[1]), 0);
}

}  // namespace

parsed_packet parse(link_type link, std::span<const std::byte> bytes) noexcept
{
    parsed_packet packet{.link = link};
    read_link(packet, bytes);
    read_vlan_tags(packet, bytes);
    if (packet.ether_type == ether_type::ipv4)
        read_ipv4(packet, bytes);
    else if (packet.ether_type == ether_type::ipv6)
        read_ipv6(packet, bytes);
    return packet;
}

std::span<const std::byte> src_address(const parsed_packet& packet,
                                       std::span<const std::byte> bytes) noexcept
{
    return address(packet, bytes, true);
}

std::span<const std::byte> dst_address(const parsed_packet& packet,
                                       std::span<const std::byte> bytes) noexcept
{
    return address(packet, bytes, false);
}

flow_key flow_key_of(const parsed_packet& packet, std::span<const std::byte> bytes) noexcept
{
    flow_key key;
    if (packet.l3 == l3_kind::none)
        return key;
    std::ranges::copy(src_address(packet, bytes), key.src_address.begin());
    std::ranges::copy(dst_address(packet, bytes), key.dst_address.begin());
    key.protocol = packet.protocol;
    key.l3 = packet.l3;
    if (!packet.is_fragment) {
        key.src_port = packet.src_port;
        key.dst_port = packet.dst_port;
    }
    return key;
}

std::uint32_t flow_hash(const flow_key& key) noexcept
{
    const auto rest = std::uint64_t{key.protocol} << 8 | static_cast<std::uint64_t>(key.l3);
    return combine(mix_endpoint(key.src_address, key.src_port),
                   mix_endpoint(key.dst_address, key.dst_port), rest);
}

std::uint32_t flow_hash(const parsed_packet& packet, std::span<const std::byte> bytes) noexcept
{
    if (packet.l3 == l3_kind::none)
        return link_hash(packet, bytes);
    return flow_hash(flow_key_of(packet, bytes));
}

}  // namespace cohort
