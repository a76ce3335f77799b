#include "vnet_header.hpp"

#include "cohort/packet/checksum.hpp"
#include "cohort/packet/ip_checksum.hpp"
#include "cohort/packet/mbuf_flags.hpp"
#include "cohort/packet/parse.hpp"
#include "cohort/packet/tx_prepare.hpp"
#include "packet/ip_protocols.hpp"

#include <cstdint>

namespace cohort::detail {
namespace {

using namespace mbuf_flag;

std::uint16_t as_u16(std::size_t value) noexcept
{
    return static_cast<std::uint16_t>(value);
}

}  // namespace

void note_vnet_header(const vnet_header& header, mbuf& packet) noexcept
{
    if ((header.flags & vnet_header::data_valid) != 0)
        packet.ol_flags |= rx_l4_cksum_good;
    if ((header.flags & vnet_header::needs_checksum) == 0)
        return;
    packet.ol_flags |= rx_l4_cksum_none;
    const auto found = parse(link_type::ethernet, packet.bytes());
    const bool known = found.l4 == l4_kind::tcp || found.l4 == l4_kind::udp;
    if (!known || found.l4_offset() != header.checksum_start)
        return;
    packet.ol_flags |= (found.l4 == l4_kind::tcp ? tx_tcp_cksum : tx_udp_cksum) |
                       (found.l3 == l3_kind::ipv4 ? tx_ipv4 : tx_ipv6);
    packet.tx_offload =
        tx_offload_parts{.l2_len = found.l2_length, .l3_len = found.l3_length}.pack();
}

bool vnet_headers::fill(const mbuf& packet) noexcept
{
    header_ = {};
    length_ = 0;
    if (fault_for_device(packet))
        return false;
    const auto flags = packet.ol_flags;
    const bool is_segmented = (flags & tx_tcp_seg) != 0;
    const auto l4 = is_segmented ? tx_tcp_cksum : flags & tx_l4_mask;
    const bool writes_ip = (flags & tx_ip_cksum) != 0;
    if (l4 == tx_l4_no_cksum && !writes_ip)
        return true;
    const auto protocol = l4 == tx_tcp_cksum ? ip_protocol::tcp : ip_protocol::udp;
    const auto field = *ip_protocol::checksum_offset(protocol);
    const auto lengths = tx_offload_parts::unpack(packet.tx_offload);
    const std::size_t l4_at = std::size_t{lengths.l2_len} + lengths.l3_len;
    length_ = l4_at + (l4 == tx_l4_no_cksum ? 0 : is_segmented ? lengths.l4_len : field + 2);
    static_cast<void>(read(packet, 0, rewritten()));  // it is as long as that
    const auto ip = rewritten().subspan(lengths.l2_len, lengths.l3_len);
    if (writes_ip)
        store_be16(ip, 10, ipv4_header_checksum(ip).value_or(0));  // it has one
    if (l4 == tx_l4_no_cksum)
        return true;
    const bool is_ipv4 = (flags & tx_ipv4) != 0;
    constexpr std::size_t ipv6_bytes = 40;
    const auto extensions = is_ipv4 ? 0 : ip.size() - ipv6_bytes;
    const auto pseudo =
        pseudo_header_sum(ip, {.headers = as_u16(extensions), .protocol = protocol});
    store_be16(rewritten(), l4_at + field, pseudo.value_or(0));  // it has one
    header_.flags = vnet_header::needs_checksum;
    header_.checksum_start = as_u16(l4_at);
    header_.checksum_offset = as_u16(field);
    if (is_segmented) {
        header_.segments = is_ipv4 ? vnet_header::tcp_over_ipv4 : vnet_header::tcp_over_ipv6;
        header_.segment_bytes = lengths.tso_segsz;
        header_.header_bytes = as_u16(length_);
    }
    return true;
}

}  // namespace cohort::detail
