#include "cohort/packet/vlan.hpp"

#include "cohort/packet/checksum.hpp"
#include "cohort/packet/mbuf_copy.hpp"
#include "cohort/packet/mbuf_external.hpp"
#include "ip_protocols.hpp"

#include <cstring>

namespace cohort {
namespace {

using namespace mbuf_flag;
using ether_type::customer_tag;
using ether_type::tag_bytes;

constexpr std::uint16_t address_bytes = 12;  // both of them

/// Calls `change` with the length of the outermost L2 header.
template <typename Change>
void change_l2_length(mbuf& packet, Change change) noexcept
{
    auto parts = tx_offload_parts::unpack(packet.tx_offload);
    auto& length = (packet.ol_flags & tx_tunnel_mask) != 0 ? parts.outer_l2_len : parts.l2_len;
    length = static_cast<std::uint16_t>(change(length));
    packet.tx_offload = parts.pack();
}

}  // namespace

bool vlan_strip(mbuf& packet) noexcept
{
    const auto front = view(packet, 0, address_bytes + tag_bytes + 2);
    if (front.empty() || detail::load_be16(front, address_bytes) != customer_tag ||
        is_shared(packet))
        return false;
    packet.vlan_tci = detail::load_be16(front, address_bytes + 2);
    packet.ol_flags |= rx_vlan | rx_vlan_stripped;
    std::memmove(front.data() + tag_bytes, front.data(), address_bytes);
    constexpr int tagged = address_bytes + tag_bytes + 2;
    change_l2_length(packet, [](int length) {
        return length >= tagged ? length - tag_bytes : length;  // else nobody has counted the tag
    });
    return packet.adj(tag_bytes);
}

bool vlan_insert(mbuf& packet) noexcept
{
    if (packet.data_len < address_bytes || is_shared(packet))
        return false;
    const auto front = packet.prepend(tag_bytes);
    if (front.empty())
        return false;
    std::memmove(front.data(), front.data() + tag_bytes, address_bytes);
    const auto tag = view(packet, address_bytes, tag_bytes);
    detail::store_be16(tag, 0, customer_tag);
    detail::store_be16(tag, 2, packet.vlan_tci);
    packet.ol_flags &= ~(rx_vlan_stripped | tx_vlan);
    change_l2_length(packet, [](int length) { return length + tag_bytes; });
    return true;
}

}  // namespace cohort
