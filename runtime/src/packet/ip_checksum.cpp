#include "cohort/packet/ip_checksum.hpp"

#include "cohort/packet/mbuf_copy.hpp"
#include "cohort/packet/packet_type.hpp"
#include "ip_protocols.hpp"

#include <algorithm>
#include <array>

namespace cohort {
namespace {

using namespace ip_protocol;
using detail::load_be16;

constexpr std::size_t checksum_at = 10;

unsigned version_of(std::span<const std::byte> ip) noexcept
{
    return ip.empty() ? 0 : std::to_integer<unsigned>(ip[0]) >> 4;
}

/// Bytes of an IPv4 header that is all there; else 0.
std::size_t bytes_of_ipv4(std::span<const std::byte> ip) noexcept
{
    const auto bytes =
        version_of(ip) == 4 ? (std::to_integer<std::size_t>(ip[0]) & 0xf) * 4 : std::size_t{0};
    return bytes >= 20 && bytes <= ip.size() ? bytes : 0;
}

/// UDP says "no checksum" by 0, so that a sum of 0 is sent as its other form.
std::uint16_t as_sent(std::uint16_t checksum, std::uint8_t protocol) noexcept
{
    return checksum == 0 && protocol == udp ? std::uint16_t{0xffff} : checksum;
}

/// The outermost TCP or UDP of a packet, and the sum over it and its pseudo-header.
struct l4_part {
    std::size_t l3_at = 0;
    std::size_t l4_at = 0;
    std::size_t length = 0;  ///< to the end of the IP payload
    std::uint8_t protocol = 0;
    bool is_ipv4 = false;
    std::array<std::byte, 60> scratch{};
};

std::optional<l4_part> find_l4(const mbuf& packet) noexcept
{
    const auto found = classify(packet, ptype::l2_mask | ptype::l3_mask | ptype::l4_mask);
    const auto l4 = found.type & ptype::l4_mask;
    if (l4 != ptype::l4_tcp && l4 != ptype::l4_udp)
        return std::nullopt;
    l4_part part;
    part.protocol = l4 == ptype::l4_tcp ? tcp : udp;
    part.l3_at = found.lengths.l2;
    part.l4_at = part.l3_at + found.lengths.l3;
    part.is_ipv4 = (found.type & ptype::l3_mask) == ptype::l3_ipv4 ||
                   (found.type & ptype::l3_mask) == ptype::l3_ipv4_ext;
    const std::size_t fixed = part.is_ipv4 ? found.lengths.l3 : 40;
    if (!read(packet, part.l3_at, std::span{part.scratch}.first(fixed)))
        return std::nullopt;
    const std::size_t said = load_be16(part.scratch, part.is_ipv4 ? 2 : 4);
    const std::size_t headers =
        found.lengths.l3 - (part.is_ipv4 ? std::size_t{0} : std::size_t{40});
    const auto least = checksum_offset(part.protocol).value_or(0) + 2;
    if (said < headers + least || part.l4_at + (said - headers) > packet.pkt_len)
        return std::nullopt;
    part.length = said - headers;
    return part;
}

/// The checksum over pseudo-header and payload as they are: 0 when the field in it is right.
std::optional<std::uint16_t> sum_of(const mbuf& packet, const l4_part& part) noexcept
{
    const auto ip = std::span<const std::byte>{part.scratch};
    const auto addresses = part.is_ipv4 ? ip.subspan(12, 8) : ip.subspan(8, 32);
    checksum_builder sum;
    sum.add(addresses).add_word(part.protocol).add_word(static_cast<std::uint16_t>(part.length));
    const auto payload = internet_checksum(packet, part.l4_at, part.length);
    if (!payload)
        return std::nullopt;
    sum.add_word(static_cast<std::uint16_t>(~*payload));
    return sum.value();
}

std::uint16_t field_of(const mbuf& packet, const l4_part& part) noexcept
{
    std::array<std::byte, 2> field{};
    static_cast<void>(read(packet, part.l4_at + *checksum_offset(part.protocol), field));
    return load_be16(field, 0);
}

}  // namespace

std::optional<std::uint16_t> internet_checksum(const mbuf& packet, std::size_t offset,
                                               std::size_t length) noexcept
{
    if (offset > packet.pkt_len || length > packet.pkt_len - offset)
        return std::nullopt;
    checksum_builder sum;
    for (const mbuf* segment = &packet; segment && length != 0; segment = segment->next) {
        const auto bytes = segment->bytes();
        if (offset >= bytes.size()) {
            offset -= bytes.size();
            continue;
        }
        const auto piece = bytes.subspan(offset, std::min(bytes.size() - offset, length));
        sum.add(piece);
        length -= piece.size();
        offset = 0;
    }
    return length == 0 ? std::optional{sum.value()} : std::nullopt;
}

std::optional<std::uint16_t> ipv4_header_checksum(std::span<const std::byte> ip) noexcept
{
    const auto bytes = bytes_of_ipv4(ip);
    if (bytes == 0)
        return std::nullopt;
    return checksum_builder{}
        .add(ip.first(checksum_at))
        .add(ip.subspan(checksum_at + 2, bytes - checksum_at - 2))
        .value();
}

bool ipv4_header_is_intact(std::span<const std::byte> ip) noexcept
{
    const auto bytes = bytes_of_ipv4(ip);
    return bytes != 0 && internet_checksum(ip.first(bytes)) == 0;
}

std::optional<std::uint16_t> pseudo_header_sum(std::span<const std::byte> ip,
                                               const pseudo_header& about) noexcept
{
    checksum_builder sum;
    std::size_t length = 0;
    std::uint8_t protocol = about.protocol;
    if (const auto bytes = bytes_of_ipv4(ip); bytes != 0) {
        const std::size_t said = load_be16(ip, 2);
        if (said < bytes)
            return std::nullopt;
        length = said - bytes;
        protocol = protocol != 0 ? protocol : std::to_integer<std::uint8_t>(ip[9]);
        sum.add(ip.subspan(12, 8));
    } else if (version_of(ip) == 6 && ip.size() >= 40) {
        const std::size_t said = load_be16(ip, 4);
        if (said < about.headers)
            return std::nullopt;
        length = said - about.headers;
        protocol = protocol != 0 ? protocol : std::to_integer<std::uint8_t>(ip[6]);
        sum.add(ip.subspan(8, 32));
    } else {
        return std::nullopt;
    }
    sum.add_word(protocol).add_word(about.segmented ? std::uint16_t{0}
                                                    : static_cast<std::uint16_t>(length));
    return static_cast<std::uint16_t>(~sum.value());
}

std::optional<std::uint16_t> l4_checksum(std::span<const std::byte> ip,
                                         std::span<const std::byte> l4) noexcept
{
    const bool is_ipv4 = bytes_of_ipv4(ip) != 0;
    if (!is_ipv4 && (version_of(ip) != 6 || ip.size() < 40))
        return std::nullopt;
    const auto protocol = std::to_integer<std::uint8_t>(ip[is_ipv4 ? 9 : 6]);
    const auto at = checksum_offset(protocol);
    if (!at || l4.size() < *at + 2 || l4.size() > 0xffff)
        return std::nullopt;
    checksum_builder sum;
    sum.add(is_ipv4 ? ip.subspan(12, 8) : ip.subspan(8, 32))
        .add_word(protocol)
        .add_word(static_cast<std::uint16_t>(l4.size()))
        .add(l4.first(*at))
        .add(l4.subspan(*at + 2));
    return as_sent(sum.value(), protocol);
}

std::optional<std::uint16_t> l4_checksum(const mbuf& packet) noexcept
{
    const auto part = find_l4(packet);
    const auto sum = part ? sum_of(packet, *part) : std::nullopt;
    if (!sum)
        return std::nullopt;
    // What the field adds is taken off again: RFC 1624.
    return as_sent(update_checksum(*sum, field_of(packet, *part), 0), part->protocol);
}

checksum_state verify_l4_checksum(const mbuf& packet) noexcept
{
    const auto part = find_l4(packet);
    if (!part)
        return checksum_state::unknown;
    if (part->protocol == udp && part->is_ipv4 && field_of(packet, *part) == 0)
        return checksum_state::none;
    const auto sum = sum_of(packet, *part);
    if (!sum)
        return checksum_state::unknown;
    // Zero is forbidden for UDP over IPv6 (RFC 8200).
    const bool forbidden = part->protocol == udp && field_of(packet, *part) == 0;
    return *sum == 0 && !forbidden ? checksum_state::good : checksum_state::bad;
}

bool fill_checksums(mbuf& packet) noexcept
{
    const auto found = classify(packet, ptype::l2_mask | ptype::l3_mask | ptype::l4_mask);
    const auto l3 = found.type & ptype::l3_mask;
    if (l3 == ptype::l3_ipv4 || l3 == ptype::l3_ipv4_ext) {
        const auto ip = view(packet, found.lengths.l2, found.lengths.l3);
        const auto sum = ipv4_header_checksum(ip);
        if (!sum)
            return false;
        detail::store_be16(ip, checksum_at, *sum);
    }
    const auto l4 = found.type & ptype::l4_mask;
    if (l4 != ptype::l4_tcp && l4 != ptype::l4_udp)
        return true;
    const auto part = find_l4(packet);
    const auto field = part ? view(packet, part->l4_at + *checksum_offset(part->protocol), 2)
                            : std::span<std::byte>{};
    const auto sum = field.empty() ? std::nullopt : l4_checksum(packet);
    if (!sum)
        return false;
    detail::store_be16(field, 0, *sum);
    return true;
}

}  // namespace cohort
