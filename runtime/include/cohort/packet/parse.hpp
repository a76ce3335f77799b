// Finds the headers of a packet: link layer with VLAN tags, IPv4 or IPv6 with its extension
// headers, TCP, UDP, ICMP or ICMPv6; and names the flow it belongs to.
//
// The bytes come from a wire or a file and are trusted in nothing: parse() reads no byte outside
// the span it is given, whatever the bytes say, and every offset and length it reports lies inside
// that span. It copies no payload, keeps no state and allocates nothing. For a chain of segments,
// pass the first one; headers that continue in the next are reported as truncated.
//
// Stated limits: 4 VLAN tags, 8 IPv6 extension headers. What lies behind more is not looked at:
// with a fifth tag there is no l3, with a ninth extension header no l4.
//
// When not to use: tunnels, MPLS, PPPoE and 802.3 LLC frames are not opened (their l3 is none), and
// no checksum is verified.
//
// Thread safety: no shared state; every function depends on its arguments alone, so all processes
// that look at the same bytes agree, on the flow hash too.
// When a process dies here: nothing is left behind; nothing here writes to the packet.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <type_traits>

namespace cohort {

/// What the first bytes of a packet are, in the numbers of the capture file formats (LINKTYPE_ in
/// the registry at tcpdump.org). `dlt_raw` is what some older files carry for `raw`.
enum class link_type : std::uint32_t {
    null = 0,  // BSD loopback: address family in the byte order of the machine that captured
    ethernet = 1,
    dlt_raw = 12,
    raw = 101,   // IPv4 or IPv6, told apart by the version
    loop = 108,  // like null, in network order
    linux_sll = 113,
    ipv4 = 228,
    ipv6 = 229,
    linux_sll2 = 276,
};

enum class l3_kind : std::uint8_t { none, ipv4, ipv6 };

/// `none` also stands for a fragment that is not the first: it holds no header of this layer.
enum class l4_kind : std::uint8_t { none, tcp, udp, icmp, icmpv6, other };

inline constexpr unsigned max_vlan_tags = 4;
inline constexpr unsigned max_extension_headers = 8;

/// Where the headers of one packet lie. All numbers are in host order; offsets and lengths are in
/// bytes and stay inside the span that was parsed. Default values mean "not there".
struct parsed_packet {
    link_type link{link_type::null};
    std::uint16_t l2_length{0};   // link header with its tags
    std::uint16_t l3_length{0};   // IP header with options or extension headers
    std::uint16_t ether_type{0};  // of what follows the last tag; derived where the link has none
    std::uint16_t vlan_tci{0};    // the only or innermost tag, as in mbuf
    std::uint16_t vlan_tci_outer{0};  // the outermost of several tags
    std::uint16_t src_port{0};        // TCP and UDP only
    std::uint16_t dst_port{0};
    std::uint8_t vlan_count{0};

    /// The IP protocol number. In an IPv6 fragment it is what the fragment header names, which all
    /// fragments of a datagram have in common, even where more extension headers follow in the
    /// first.
    std::uint8_t protocol{0};

    l3_kind l3{l3_kind::none};  // not none: the fixed header (20 or 40 bytes) is in the span
    l4_kind l4{l4_kind::none};
    bool is_fragment{false};  // part of a datagram; an IPv6 "atomic fragment" is whole
    bool truncated{false};    // the bytes, or the IP length field, end before the headers do

    [[nodiscard]] constexpr std::size_t l3_offset() const noexcept { return l2_length; }
    [[nodiscard]] constexpr std::size_t l4_offset() const noexcept
    {
        return std::size_t{l2_length} + l3_length;
    }
};

static_assert(std::is_trivially_copyable_v<parsed_packet>);

/// Finds the headers in `bytes`. Answers for any bytes of any length; an unknown link type has no
/// headers that can be found.
[[nodiscard]] parsed_packet parse(link_type link, std::span<const std::byte> bytes) noexcept;

/// The source address in network order, 4 or 16 bytes inside `bytes`; empty without an l3.
/// `bytes` is what `packet` was parsed from, here and below.
[[nodiscard]] std::span<const std::byte> src_address(const parsed_packet& packet,
                                                     std::span<const std::byte> bytes) noexcept;

/// The destination address, likewise.
[[nodiscard]] std::span<const std::byte> dst_address(const parsed_packet& packet,
                                                     std::span<const std::byte> bytes) noexcept;

/// One direction of one conversation. An IPv4 address takes the first four bytes, zeros follow. It
/// has no padding, so that equal keys are equal bytes.
///
/// The ports are 0 in every fragment, the first included, so that a fragmented datagram counts as
/// one flow. Packets that are not IP all have the default key.
struct flow_key {
    std::array<std::byte, 16> src_address{};
    std::array<std::byte, 16> dst_address{};
    std::uint16_t src_port{0};
    std::uint16_t dst_port{0};
    std::uint8_t protocol{0};
    l3_kind l3{l3_kind::none};

    friend auto operator<=>(const flow_key&, const flow_key&) = default;
    friend bool operator==(const flow_key&, const flow_key&) = default;

    /// The same conversation seen from the other end.
    [[nodiscard]] constexpr flow_key reversed() const noexcept
    {
        return {dst_address, src_address, dst_port, src_port, protocol, l3};
    }

    /// One key for both directions: the smaller of the two.
    [[nodiscard]] flow_key bidirectional() const noexcept
    {
        const auto other = reversed();
        return other < *this ? other : *this;
    }
};

static_assert(std::is_trivially_copyable_v<flow_key>);
static_assert(std::has_unique_object_representations_v<flow_key> && sizeof(flow_key) == 38);

[[nodiscard]] flow_key flow_key_of(const parsed_packet& packet,
                                   std::span<const std::byte> bytes) noexcept;

/// Equal for a key and its reverse. Every output bit depends on every field, so `% workers` and
/// `& mask` both spread. It has no secret: who chooses the addresses can choose the worker.
[[nodiscard]] std::uint32_t flow_hash(const flow_key& key) noexcept;

/// The hash by which packets are spread over workers: both directions of a flow meet in one place,
/// and so do all fragments of a datagram (addresses and protocol only). VLAN tags do not count. Not
/// IP: a hash of the two Ethernet addresses, equal in both directions; 0 on other links.
[[nodiscard]] std::uint32_t flow_hash(const parsed_packet& packet,
                                      std::span<const std::byte> bytes) noexcept;

}  // namespace cohort

template <>
struct std::hash<cohort::flow_key> {
    std::size_t operator()(const cohort::flow_key& key) const noexcept
    {
        return cohort::flow_hash(key);
    }
};
