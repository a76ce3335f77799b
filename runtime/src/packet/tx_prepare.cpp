#include "cohort/packet/tx_prepare.hpp"

#include "cohort/packet/ip_checksum.hpp"
#include "cohort/packet/mbuf_copy.hpp"
#include "cohort/packet/mbuf_external.hpp"
#include "cohort/packet/vlan.hpp"
#include "ip_protocols.hpp"

#include <array>
#include <optional>

namespace cohort {
namespace {

using namespace mbuf_flag;
using detail::load_be16;
using detail::store_be16;

constexpr std::uint64_t checksums = tx_ip_cksum | tx_l4_mask;
constexpr std::uint64_t in_software = checksums | tx_ipv4 | tx_ipv6 | tx_vlan;
constexpr std::uint64_t all_tx = ~std::uint64_t{0} << 41 & ~(external | indirect);
constexpr std::size_t ipv6_bytes = 40;

/// A checksum that is worked out and not written yet.
struct planned_checksum {
    std::span<std::byte> field;
    std::uint16_t value = 0;
};

struct plan {
    const char* fault = nullptr;
    std::optional<planned_checksum> ip;
    std::optional<planned_checksum> l4;
};

plan refuse(const char* why) noexcept
{
    return {.fault = why, .ip = {}, .l4 = {}};
}

std::uint8_t l4_protocol(std::uint64_t flags) noexcept
{
    return (flags & tx_l4_mask) == tx_tcp_cksum ? ip_protocol::tcp : ip_protocol::udp;
}

const char* fault_of_flags(std::uint64_t flags) noexcept
{
    const auto l4 = flags & tx_l4_mask;
    if ((flags & all_tx & ~in_software) != 0 || l4 == tx_sctp_cksum)
        return "its flags ask for an offload that is not done in software";
    if ((flags & tx_ipv4) != 0 && (flags & tx_ipv6) != 0)
        return "its flags say IPv4 and IPv6";
    if ((flags & tx_ip_cksum) != 0 && (flags & tx_ipv4) == 0)
        return "tx_ip_cksum is set, but not tx_ipv4";
    if (l4 != tx_l4_no_cksum && (flags & (tx_ipv4 | tx_ipv6)) == 0)
        return "a checksum of TCP or UDP is asked for, but neither tx_ipv4 nor tx_ipv6 is set";
    return nullptr;
}

/// Bytes of the IP payload from the L4 header on; nothing when the IP header says less than that.
std::optional<std::size_t> payload_bytes(std::span<const std::byte> ip, bool is_ipv4) noexcept
{
    const std::size_t said = load_be16(ip, is_ipv4 ? 2 : 4);
    const std::size_t headers = is_ipv4 ? ip.size() : ip.size() - ipv6_bytes;
    return said >= headers ? std::optional{said - headers} : std::nullopt;
}

/// The sum over the packet without what stands in the field. RFC 1624.
plan plan_l4(mbuf& packet, std::span<std::byte> ip, std::size_t l4_at) noexcept
{
    const bool is_ipv4 = (packet.ol_flags & tx_ipv4) != 0;
    const auto protocol = l4_protocol(packet.ol_flags);
    const auto field_at = *ip_protocol::checksum_offset(protocol);
    const auto field = view(packet, l4_at + field_at, 2);
    if (field.empty())
        return refuse("its L4 header is not in the first segment");
    const auto length = payload_bytes(ip, is_ipv4);
    const auto payload = length && *length >= field_at + 2
                             ? internet_checksum(packet, l4_at, *length)
                             : std::nullopt;
    const auto headers = is_ipv4 ? std::size_t{0} : ip.size() - ipv6_bytes;
    const auto pseudo = pseudo_header_sum(
        ip, {.headers = static_cast<std::uint16_t>(headers), .protocol = protocol});
    if (!payload || !pseudo)
        return refuse("it is shorter than its IP header says");
    const auto whole = checksum_builder{}
                           .add_word(*pseudo)
                           .add_word(static_cast<std::uint16_t>(~*payload))
                           .value();
    const auto sum = update_checksum(whole, load_be16(field, 0), 0);
    const bool none = sum == 0 && protocol == ip_protocol::udp;  // UDP would say "no checksum"
    return {.ip = {}, .l4 = planned_checksum{field, none ? std::uint16_t{0xffff} : sum}};
}

plan plan_checksums(mbuf& packet) noexcept
{
    const auto flags = packet.ol_flags;
    if ((flags & checksums) == 0)
        return {};
    const auto lengths = tx_offload_parts::unpack(packet.tx_offload);
    const std::size_t least = (flags & tx_ipv4) != 0 ? 20 : ipv6_bytes;
    const auto ip = view(packet, lengths.l2_len, lengths.l3_len);
    if (ip.size() < least)
        return refuse("l2_len and l3_len name no IP header in the first segment");
    plan made;
    if ((flags & tx_l4_mask) != tx_l4_no_cksum)
        made = plan_l4(packet, ip, std::size_t{lengths.l2_len} + lengths.l3_len);
    if (!made.fault && (flags & tx_ip_cksum) != 0) {
        const auto sum = ipv4_header_checksum(ip);
        if (!sum)
            return refuse("there is no IPv4 header at l2_len");
        made.ip = planned_checksum{ip.subspan(10, 2), *sum};
    }
    return made;
}

}  // namespace

const char* prepare_tx(mbuf& packet) noexcept
{
    if (const auto* fault = find_fault(packet, true))
        return fault;
    if (packet.pkt_len == 0)
        return "it is empty";
    const auto wanted = packet.ol_flags & all_tx;
    if ((wanted & (all_tx & ~(tx_ipv4 | tx_ipv6))) == 0)
        return nullptr;
    if (const auto* fault = fault_of_flags(wanted))
        return fault;
    if (is_shared(packet))
        return "its headers are to be written, but others show them too; send a copy";
    if ((wanted & tx_vlan) != 0 &&
        (packet.headroom() < ether_type::tag_bytes || packet.data_len < 12))
        return "it has no room for a VLAN tag in front, or no addresses in the first segment";
    const auto planned = plan_checksums(packet);
    if (planned.fault)
        return planned.fault;
    for (const auto& checksum : {planned.ip, planned.l4})
        if (checksum)
            store_be16(checksum->field, 0, checksum->value);
    packet.ol_flags &= ~checksums;
    if ((wanted & tx_vlan) != 0)
        static_cast<void>(vlan_insert(packet));  // it has room
    return nullptr;
}

const char* fault_for_device(const mbuf& packet) noexcept
{
    if (const auto* fault = find_fault(packet, true))
        return fault;
    if (packet.pkt_len == 0)
        return "it is empty";
    const auto wanted = packet.ol_flags & all_tx;
    const bool is_segmented = (wanted & tx_tcp_seg) != 0;
    if ((wanted & ~(checksums | tx_ipv4 | tx_ipv6 | tx_tcp_seg)) != 0)
        return "its flags ask for an offload that the device does not have";
    if (const auto* fault = fault_of_flags(wanted & ~tx_tcp_seg))
        return fault;
    if ((wanted & checksums) == 0 && !is_segmented)
        return nullptr;
    if ((wanted & (tx_ipv4 | tx_ipv6)) == 0)
        return "neither tx_ipv4 nor tx_ipv6 is set";
    constexpr std::size_t least_tcp_header = 20;
    constexpr std::size_t most_tcp_header = 60;
    const auto lengths = tx_offload_parts::unpack(packet.tx_offload);
    if (is_segmented && (lengths.l4_len < least_tcp_header || lengths.l4_len > most_tcp_header ||
                         lengths.tso_segsz == 0))
        return "tx_tcp_seg needs l4_len and tso_segsz";
    const auto l4_bytes = is_segmented ? std::size_t{lengths.l4_len}
                          : (wanted & tx_l4_mask) == tx_l4_no_cksum
                              ? 0
                              : *ip_protocol::checksum_offset(l4_protocol(wanted)) + 2;
    std::array<std::byte, 512> header;  // more than l3_len can say
    const auto ip = std::span{header}.first(lengths.l3_len);
    if (std::size_t{lengths.l2_len} + lengths.l3_len + l4_bytes > packet.pkt_len ||
        !read(packet, lengths.l2_len, ip))
        return "it is shorter than l2_len, l3_len and l4_len say";
    const bool is_ipv4 = (wanted & tx_ipv4) != 0;
    const std::size_t least = is_ipv4 ? 20 : ipv6_bytes;
    const auto version = ip.size() < least ? 0 : std::to_integer<unsigned>(ip[0]) >> 4;
    if (version != (is_ipv4 ? 4u : 6u) || (is_ipv4 && !ipv4_header_checksum(ip)) ||
        !payload_bytes(ip, is_ipv4))
        return "l2_len and l3_len name no IP header";
    return nullptr;
}

prepared prepare_tx(std::span<mbuf* const> packets) noexcept
{
    for (std::size_t i = 0; i != packets.size(); ++i)
        if (const auto* why = prepare_tx(*packets[i]))
            return {.count = i, .why = why};
    return {.count = packets.size()};
}

}  // namespace cohort
