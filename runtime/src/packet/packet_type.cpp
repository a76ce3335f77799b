#include "cohort/packet/packet_type.hpp"

#include "cohort/packet/checksum.hpp"
#include "cohort/packet/mbuf_copy.hpp"
#include "cohort/packet/parse.hpp"
#include "ip_protocols.hpp"

#include <array>
#include <optional>

namespace cohort {
namespace {

using namespace ip_protocol;

constexpr unsigned max_labels = 16;

/// One look at a packet, from its front to its end.
class walker {
public:
    walker(const mbuf& packet, std::uint32_t layers) noexcept : packet_{packet}, layers_{layers} {}

    packet_classes walk() noexcept
    {
        if (const auto next = ethernet(ptype::l2_ether, found_.lengths.l2))
            layer3(*next);
        found_.type &= layers_;
        return found_;
    }

private:
    /// Bytes [at_ + offset, + length) if the packet has them, else empty.
    [[nodiscard]] std::span<const std::byte> peek(std::size_t offset, std::size_t length) noexcept
    {
        const auto* bytes = read(packet_, at_ + offset, length, scratch_);
        return bytes ? std::span{bytes, length} : std::span<const std::byte>{};
    }
    [[nodiscard]] std::optional<std::uint16_t> word(std::size_t offset) noexcept
    {
        const auto bytes = peek(offset, 2);
        return bytes.empty() ? std::nullopt : std::optional{detail::load_be16(bytes, 0)};
    }
    [[nodiscard]] std::uint8_t byte(std::size_t offset) noexcept
    {
        const auto bytes = peek(offset, 1);
        return bytes.empty() ? std::uint8_t{0} : std::to_integer<std::uint8_t>(bytes[0]);
    }
    /// Counts bytes to a header if the packet has them.
    bool take(std::uint16_t& length, std::size_t bytes) noexcept
    {
        if (at_ + bytes > packet_.pkt_len || length + bytes > 0xffff)
            return false;
        at_ += bytes;
        length = static_cast<std::uint16_t>(length + bytes);
        return true;
    }
    [[nodiscard]] bool wants(std::uint32_t mask) const noexcept { return (layers_ & mask) != 0; }

    std::optional<std::uint16_t> ethernet(std::uint32_t type, std::uint16_t& length) noexcept;
    std::optional<std::uint16_t> labels(std::uint16_t& length) noexcept;
    void layer3(std::uint16_t ether_type) noexcept;
    void ipv4() noexcept;
    void ipv6() noexcept;
    void layer4(std::uint8_t protocol) noexcept;
    void fragment() noexcept { add(ptype::l4_frag, ptype::inner_l4_frag); }
    void tunnel(std::uint8_t protocol) noexcept;
    void udp_tunnel(std::uint16_t port) noexcept;
    void gre_tunnel() noexcept;
    void open(std::uint32_t type, std::size_t bytes, std::uint16_t ether_type) noexcept;

    void add(std::uint32_t outer, std::uint32_t inner) noexcept
    {
        found_.type |= inner_ ? inner : outer;
    }
    [[nodiscard]] std::uint16_t& l3_length() noexcept
    {
        return inner_ ? found_.lengths.inner_l3 : found_.lengths.l3;
    }
    [[nodiscard]] std::uint16_t& l4_length() noexcept
    {
        return inner_ ? found_.lengths.inner_l4 : found_.lengths.l4;
    }

    const mbuf& packet_;
    std::uint32_t layers_;
    std::size_t at_ = 0;
    bool inner_ = false;
    packet_classes found_{};
    std::array<std::byte, 64> scratch_{};
};

/// The frame's header and tags; returns the type of what follows when that is to be looked at.
std::optional<std::uint16_t> walker::ethernet(std::uint32_t type, std::uint16_t& length) noexcept
{
    auto next = word(12);
    if (!next || !take(length, 14))
        return std::nullopt;
    const auto tagged = inner_ ? ptype::inner_l2_ether_vlan : ptype::l2_ether_vlan;
    const auto tagged_twice = inner_ ? ptype::inner_l2_ether_qinq : ptype::l2_ether_qinq;
    unsigned tags = 0;
    for (; ether_type::is_vlan_tag(*next) && tags != max_vlan_tags; ++tags) {
        const bool service = *next != ether_type::customer_tag;
        const auto after = word(2);
        if (!after || !take(length, 4))
            break;
        type = tags != 0 || service ? tagged_twice : tagged;
        next = after;
    }
    if (!inner_ && tags == 0)
        switch (*next) {
        case 0x0806: type = ptype::l2_ether_arp; break;
        case 0x88cc: type = ptype::l2_ether_lldp; break;
        case 0x88f7: type = ptype::l2_ether_timesync; break;
        case 0x894f: type = ptype::l2_ether_nsh; break;
        case 0x8863:
        case 0x8864: type = ptype::l2_ether_pppoe; break;
        case 0x8906: type = ptype::l2_ether_fcoe; break;
        default: break;
        }
    if (*next == 0x8847 || *next == 0x8848) {
        const auto behind = labels(length);
        found_.type |= inner_ ? type : ptype::l2_ether_mpls;
        return behind;
    }
    found_.type |= type;
    if (!wants(inner_ ? ptype::inner_l3_mask | ptype::inner_l4_mask : ptype::all & ~ptype::l2_mask))
        return std::nullopt;
    return next;
}

/// A stack of MPLS labels does not tell what it carries.
std::optional<std::uint16_t> walker::labels(std::uint16_t& length) noexcept
{
    for (unsigned i = 0; i != max_labels; ++i) {
        const bool is_last = (byte(2) & 1) != 0;
        if (!take(length, 4) || is_last)
            break;
    }
    return std::nullopt;
}

void walker::layer3(std::uint16_t ether_type) noexcept
{
    if (ether_type == ether_type::ipv4)
        ipv4();
    else if (ether_type == ether_type::ipv6)
        ipv6();
}

void walker::ipv4() noexcept
{
    const auto fixed = peek(0, 20);
    if (fixed.empty() || std::to_integer<unsigned>(fixed[0]) >> 4 != 4)
        return;
    const auto bytes = (std::to_integer<std::size_t>(fixed[0]) & 0xf) * 4;
    const auto fragment_field = detail::load_be16(fixed, 6);
    const auto protocol = std::to_integer<std::uint8_t>(fixed[9]);
    if (bytes < 20 || !take(l3_length(), bytes))
        return;
    if (bytes == 20)
        add(ptype::l3_ipv4, ptype::inner_l3_ipv4);
    else
        add(ptype::l3_ipv4_ext, ptype::inner_l3_ipv4_ext);
    if ((fragment_field & 0x3fff) != 0)
        fragment();
    else
        layer4(protocol);
}

void walker::ipv6() noexcept
{
    const auto fixed = peek(0, 40);
    if (fixed.empty() || std::to_integer<unsigned>(fixed[0]) >> 4 != 6)
        return;
    auto next = std::to_integer<std::uint8_t>(fixed[6]);
    if (!take(l3_length(), 40))
        return;
    if (is_extension_header(next))
        add(ptype::l3_ipv6_ext, ptype::inner_l3_ipv6_ext);
    else
        add(ptype::l3_ipv6, ptype::inner_l3_ipv6);
    bool is_fragment = false;
    for (unsigned i = 0; is_extension_header(next); ++i) {
        const auto header = peek(0, 8);
        if (header.empty() || i == max_extension_headers)
            return;
        const auto bytes = extension_bytes(next, std::to_integer<std::uint8_t>(header[1]));
        is_fragment |= next == fragment_header && (detail::load_be16(header, 2) & 0xfff9) != 0;
        const auto following = std::to_integer<std::uint8_t>(header[0]);
        if (!take(l3_length(), bytes))
            return;
        next = following;
        if (is_fragment)
            break;  // what follows lies in the first fragment only
    }
    if (is_fragment)
        fragment();
    else
        layer4(next);
}

void walker::layer4(std::uint8_t protocol) noexcept
{
    if (!wants(inner_ ? ptype::inner_l4_mask : ptype::all & ~(ptype::l2_mask | ptype::l3_mask)))
        return;
    switch (protocol) {
    case tcp: {
        const auto bytes = static_cast<std::size_t>(byte(12) >> 4) * 4;
        if (bytes >= 20 && take(l4_length(), bytes))
            add(ptype::l4_tcp, ptype::inner_l4_tcp);
        return;
    }
    case udp: {
        const auto port = word(2);
        if (!port || !take(l4_length(), 8))
            return;
        add(ptype::l4_udp, ptype::inner_l4_udp);
        if (!inner_)
            udp_tunnel(*port);
        return;
    }
    case sctp:
        if (take(l4_length(), 12))
            add(ptype::l4_sctp, ptype::inner_l4_sctp);
        return;
    case icmp:
    case icmpv6:
        if (take(l4_length(), protocol == icmp ? 8 : 4))
            add(ptype::l4_icmp, ptype::inner_l4_icmp);
        return;
    case igmp:
        if (take(l4_length(), 8))
            add(ptype::l4_igmp, ptype::inner_l4_nonfrag);
        return;
    default: break;
    }
    if (!inner_)
        tunnel(protocol);
    if ((found_.type & (inner_ ? ptype::inner_l4_mask : ptype::l4_mask | ptype::tunnel_mask)) == 0)
        add(ptype::l4_nonfrag, ptype::inner_l4_nonfrag);
}

/// Enters a tunnel with a header of so many bytes, if they are there.
void walker::open(std::uint32_t type, std::size_t bytes, std::uint16_t ether_type) noexcept
{
    if (!take(found_.lengths.tunnel, bytes))
        return;
    found_.type |= type;
    inner_ = true;
    if (!wants(ptype::inner_l2_mask | ptype::inner_l3_mask | ptype::inner_l4_mask))
        return;
    if (ether_type == ether_type::bridged) {
        if (const auto next = ethernet(ptype::inner_l2_ether, found_.lengths.inner_l2))
            layer3(*next);
    } else {
        layer3(ether_type);
    }
}

void walker::tunnel(std::uint8_t protocol) noexcept
{
    switch (protocol) {
    case ip_in_ip: open(ptype::tunnel_ip, 0, ether_type::ipv4); break;
    case ipv6_in_ip: open(ptype::tunnel_ip, 0, ether_type::ipv6); break;
    case gre: gre_tunnel(); break;
    case esp:
        if (take(found_.lengths.tunnel, 8))
            found_.type |= ptype::tunnel_esp;
        break;
    default: break;
    }
}

/// RFC 2784 and 2890: the flags say which optional words follow.
void walker::gre_tunnel() noexcept
{
    const auto flags = word(0);
    const auto carried = word(2);
    if (!flags || !carried || (*flags & 0x7) != 0)  // other versions have other headers
        return;
    std::size_t bytes = 4;
    for (const unsigned flag : {0x8000U, 0x2000U, 0x1000U})  // checksum, key, sequence number
        bytes += (*flags & flag) != 0 ? 4 : 0;
    if (*carried == 0x8847 || *carried == 0x8848) {
        if (take(found_.lengths.tunnel, bytes))
            found_.type |= ptype::tunnel_mpls_in_gre;
        return;
    }
    const bool nvgre = *carried == ether_type::bridged && (*flags & 0x2000U) != 0;
    open(nvgre ? ptype::tunnel_nvgre : ptype::tunnel_gre, bytes, *carried);
}

void walker::udp_tunnel(std::uint16_t port) noexcept
{
    switch (port) {
    case 4789: open(ptype::tunnel_vxlan, 8, ether_type::bridged); break;
    case 4790: {
        const auto carried = byte(3);
        open(ptype::tunnel_vxlan_gpe, 8,
             carried == 1   ? ether_type::ipv4
             : carried == 2 ? ether_type::ipv6
             : carried == 3 ? ether_type::bridged
                            : std::uint16_t{0});
        break;
    }
    case 6081:
        if (const auto carried = word(2))
            open(ptype::tunnel_geneve, 8 + static_cast<std::size_t>(byte(0) & 0x3f) * 4, *carried);
        break;
    case 2152: {
        const auto flags = byte(0);
        if (flags >> 5 != 1)
            break;
        const std::size_t bytes = (flags & 7) != 0 ? 12 : 8;
        const bool data = byte(1) == 0xff && (flags & 4) == 0;
        const auto version = data ? peek(bytes, 1) : std::span<const std::byte>{};
        const unsigned nibble = version.empty() ? 0 : std::to_integer<unsigned>(version[0]) >> 4;
        open(ptype::tunnel_gtpu, bytes,
             nibble == 4   ? ether_type::ipv4
             : nibble == 6 ? ether_type::ipv6
                           : std::uint16_t{0});
        break;
    }
    case 2123:
        if (take(found_.lengths.tunnel, 8))
            found_.type |= ptype::tunnel_gtpc;
        break;
    case 6635:
        if (take(found_.lengths.tunnel, 4))
            found_.type |= ptype::tunnel_mpls_in_udp;
        break;
    default: break;
    }
}

}  // namespace

packet_classes classify(const mbuf& packet, std::uint32_t layers) noexcept
{
    return walker{packet, layers}.walk();
}

std::uint32_t set_packet_type(mbuf& packet) noexcept
{
    const auto found = classify(packet);
    const auto& at = found.lengths;
    auto offload = tx_offload_parts::unpack(packet.tx_offload);
    if ((found.type & ptype::tunnel_mask) != 0) {
        offload.outer_l2_len = at.l2;
        offload.outer_l3_len = at.l3;
        offload.l2_len = static_cast<std::uint16_t>(at.l4 + at.tunnel + at.inner_l2);
        offload.l3_len = at.inner_l3;
        offload.l4_len = at.inner_l4;
    } else {
        offload.outer_l2_len = offload.outer_l3_len = 0;
        offload.l2_len = at.l2;
        offload.l3_len = at.l3;
        offload.l4_len = at.l4;
    }
    packet.tx_offload = offload.pack();
    packet.packet_type = found.type;
    return found.type;
}

}  // namespace cohort
