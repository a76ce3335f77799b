#include "cohort/packet/packet_type.hpp"

#include "cohort/packet/ip_checksum.hpp"
#include "cohort/packet/mbuf_copy.hpp"
#include "support/scratch_domain.hpp"

#include <initializer_list>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

namespace packet_type_test {
namespace {

using octets = std::vector<std::byte>;

octets of(std::initializer_list<unsigned> values)
{
    octets made;
    for (const auto value : values)
        made.push_back(static_cast<std::byte>(value));
    return made;
}
octets zeros(std::size_t count)
{
    return octets(count);
}
octets operator+(octets front, const octets& back)
{
    front.insert(front.end(), back.begin(), back.end());
    return front;
}
std::uint8_t high(std::size_t value)
{
    return static_cast<std::uint8_t>(value >> 8);
}

octets ether(unsigned type)
{
    return zeros(12) + of({type >> 8, type & 0xff});
}
octets tag(unsigned next)
{
    return of({0, 5, next >> 8, next & 0xff});
}
octets ipv4(unsigned protocol, const octets& payload, unsigned fragment = 0, unsigned words = 5)
{
    const auto length = words * 4 + payload.size();
    return of({0x40 | words,
               0,
               high(length),
               static_cast<unsigned>(length & 0xff),
               0,
               1,
               fragment >> 8,
               fragment & 0xff,
               64,
               protocol,
               0,
               0,
               10,
               0,
               0,
               1,
               10,
               0,
               0,
               2}) +
           zeros((words - 5) * 4) + payload;
}
octets ipv6(unsigned next, const octets& payload)
{
    return of({0x60, 0, 0, 0, high(payload.size()), static_cast<unsigned>(payload.size() & 0xff),
               next, 64}) +
           of({1}) + zeros(15) + of({2}) + zeros(15) + payload;
}
octets udp(unsigned port, const octets& payload = {})
{
    const auto length = 8 + payload.size();
    return of({0x30, 0x39, port >> 8, port & 0xff, high(length),
               static_cast<unsigned>(length & 0xff), 0, 0}) +
           payload;
}
octets tcp(unsigned words = 5)
{
    return zeros(12) + of({words << 4}) + zeros(words * 4 - 13);
}

struct with_pool {
    scratch_domain domain;
    pktmbuf_pool pool =
        domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8, .data_room = 512});

    /// In one segment, or in segments of so many bytes.
    mbuf* packet_of(const octets& bytes, std::size_t piece = 384)
    {
        auto* packet = pool.alloc();
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
            auto* segment = at == 0 ? packet : pool.alloc();
            const auto part = std::span{bytes}.subspan(at, std::min(piece, bytes.size() - at));
            std::ranges::copy(part,
                              segment->append(static_cast<std::uint16_t>(part.size())).data());
            if (at != 0)
                REQUIRE(chain(*packet, *segment));
        }
        return packet;
    }
    packet_classes classes_of(const octets& bytes, std::size_t piece = 384)
    {
        auto* packet = packet_of(bytes, piece);
        const auto found = classify(*packet);
        free(packet);
        return found;
    }
};

struct example {
    const char* name;
    octets frame;
    packet_classes classes;
};

std::vector<example> examples()
{
    using namespace ptype;
    const auto fragment6 = of({17, 0, 0, 1, 0, 0, 0, 9});
    const auto hop6 = of({44, 0}) + zeros(6);
    const auto inner4 = ipv4(6, tcp());
    const auto inner6 = ipv6(17, udp(53));
    return {
        {"arp", ether(0x0806) + zeros(28), {l2_ether_arp, {.l2 = 14}}},
        {"lldp", ether(0x88cc), {l2_ether_lldp, {.l2 = 14}}},
        {"ptp", ether(0x88f7), {l2_ether_timesync, {.l2 = 14}}},
        {"mpls",
         ether(0x8847) + of({0, 0, 0, 64, 0, 0, 1, 64}) + inner4,
         {l2_ether_mpls, {.l2 = 22}}},
        {"tcp",
         ether(0x0800) + ipv4(6, tcp(8)),
         {l2_ether | l3_ipv4 | l4_tcp, {.l2 = 14, .l3 = 20, .l4 = 32}}},
        {"udp with options",
         ether(0x0800) + ipv4(17, udp(53), 0, 7),
         {l2_ether | l3_ipv4_ext | l4_udp, {.l2 = 14, .l3 = 28, .l4 = 8}}},
        {"sctp in vlan",
         ether(0x8100) + tag(0x0800) + ipv4(132, zeros(12)),
         {l2_ether_vlan | l3_ipv4 | l4_sctp, {.l2 = 18, .l3 = 20, .l4 = 12}}},
        {"icmp in qinq",
         ether(0x88a8) + tag(0x8100) + tag(0x0800) + ipv4(1, zeros(8)),
         {l2_ether_qinq | l3_ipv4 | l4_icmp, {.l2 = 22, .l3 = 20, .l4 = 8}}},
        {"igmp",
         ether(0x0800) + ipv4(2, zeros(8)),
         {l2_ether | l3_ipv4 | l4_igmp, {.l2 = 14, .l3 = 20, .l4 = 8}}},
        {"ospf",
         ether(0x0800) + ipv4(89, zeros(24)),
         {l2_ether | l3_ipv4 | l4_nonfrag, {.l2 = 14, .l3 = 20}}},
        {"first fragment",
         ether(0x0800) + ipv4(17, udp(53), 0x2000),
         {l2_ether | l3_ipv4 | l4_frag, {.l2 = 14, .l3 = 20}}},
        {"icmpv6",
         ether(0x86dd) + ipv6(58, zeros(8)),
         {l2_ether | l3_ipv6 | l4_icmp, {.l2 = 14, .l3 = 40, .l4 = 4}}},
        {"ipv6 fragment",
         ether(0x86dd) + ipv6(0, hop6 + fragment6 + udp(53)),
         {l2_ether | l3_ipv6_ext | l4_frag, {.l2 = 14, .l3 = 56}}},
        {"ipv6 extension",
         ether(0x86dd) + ipv6(60, of({17, 0}) + zeros(6) + udp(53)),
         {l2_ether | l3_ipv6_ext | l4_udp, {.l2 = 14, .l3 = 48, .l4 = 8}}},
        {"ip in ip",
         ether(0x0800) + ipv4(4, inner4),
         {l2_ether | l3_ipv4 | tunnel_ip | inner_l3_ipv4 | inner_l4_tcp,
          {.l2 = 14, .l3 = 20, .inner_l3 = 20, .inner_l4 = 20}}},
        {"ipv6 in ip",
         ether(0x0800) + ipv4(41, inner6),
         {l2_ether | l3_ipv4 | tunnel_ip | inner_l3_ipv6 | inner_l4_udp,
          {.l2 = 14, .l3 = 20, .inner_l3 = 40, .inner_l4 = 8}}},
        {"gre with key",
         ether(0x0800) + ipv4(47, of({0x20, 0, 8, 0, 0, 0, 0, 1}) + inner4),
         {l2_ether | l3_ipv4 | tunnel_gre | inner_l3_ipv4 | inner_l4_tcp,
          {.l2 = 14, .l3 = 20, .tunnel = 8, .inner_l3 = 20, .inner_l4 = 20}}},
        {"nvgre",
         ether(0x0800) + ipv4(47, of({0x20, 0, 0x65, 0x58, 0, 0, 0, 1}) + ether(0x86dd) + inner6),
         {l2_ether | l3_ipv4 | tunnel_nvgre | inner_l2_ether | inner_l3_ipv6 | inner_l4_udp,
          {.l2 = 14, .l3 = 20, .tunnel = 8, .inner_l2 = 14, .inner_l3 = 40, .inner_l4 = 8}}},
        {"vxlan",
         ether(0x0800) +
             ipv4(17, udp(4789, of({8}) + zeros(7) + ether(0x8100) + tag(0x0800) + inner4)),
         {l2_ether | l3_ipv4 | l4_udp | tunnel_vxlan | inner_l2_ether_vlan | inner_l3_ipv4 |
              inner_l4_tcp,
          {.l2 = 14,
           .l3 = 20,
           .l4 = 8,
           .tunnel = 8,
           .inner_l2 = 18,
           .inner_l3 = 20,
           .inner_l4 = 20}}},
        {"vxlan-gpe",
         ether(0x0800) + ipv4(17, udp(4790, of({8, 0, 0, 2}) + zeros(4) + inner6)),
         {l2_ether | l3_ipv4 | l4_udp | tunnel_vxlan_gpe | inner_l3_ipv6 | inner_l4_udp,
          {.l2 = 14, .l3 = 20, .l4 = 8, .tunnel = 8, .inner_l3 = 40, .inner_l4 = 8}}},
        {"geneve with options",
         ether(0x86dd) +
             ipv6(17, udp(6081, of({1, 0, 0x65, 0x58}) + zeros(8) + ether(0x0800) + inner4)),
         {l2_ether | l3_ipv6 | l4_udp | tunnel_geneve | inner_l2_ether | inner_l3_ipv4 |
              inner_l4_tcp,
          {.l2 = 14,
           .l3 = 40,
           .l4 = 8,
           .tunnel = 12,
           .inner_l2 = 14,
           .inner_l3 = 20,
           .inner_l4 = 20}}},
        {"gtp-u",
         ether(0x0800) + ipv4(17, udp(2152, of({0x30, 0xff}) + zeros(6) + inner6)),
         {l2_ether | l3_ipv4 | l4_udp | tunnel_gtpu | inner_l3_ipv6 | inner_l4_udp,
          {.l2 = 14, .l3 = 20, .l4 = 8, .tunnel = 8, .inner_l3 = 40, .inner_l4 = 8}}},
        {"esp",
         ether(0x0800) + ipv4(50, zeros(24)),
         {l2_ether | l3_ipv4 | tunnel_esp, {.l2 = 14, .l3 = 20, .tunnel = 8}}},
        {"nothing known", ether(0x1234) + zeros(40), {l2_ether, {.l2 = 14}}},
        {"too short", zeros(13), {}},
    };
}

}  // namespace

TEST_CASE("the classes and headers of a packet are found in one segment and in many",
          "[packet][type]")
{
    with_pool with;
    for (const auto& one : examples()) {
        INFO(one.name);
        for (const std::size_t piece : {384u, 1u, 7u}) {
            if (one.frame.size() / piece > 60)
                continue;
            const auto found = with.classes_of(one.frame, piece);
            CHECK(found.type == one.classes.type);
            CHECK(found.lengths == one.classes.lengths);
        }
    }
}

TEST_CASE("a packet that is cut short has the headers that are there", "[packet][type]")
{
    with_pool with;
    for (const auto& one : examples())
        for (std::size_t length = 0; length != one.frame.size(); ++length) {
            const auto found =
                with.classes_of({one.frame.begin(), one.frame.begin() + static_cast<long>(length)});
            CHECK(found.lengths.sum() <= length);
        }
}

TEST_CASE("only the layers that are asked for are looked for", "[packet][type]")
{
    with_pool with;
    auto* packet = with.packet_of(ether(0x0800) + ipv4(17, udp(4789, zeros(8) + ether(0x0800))));

    CHECK(classify(*packet, ptype::l2_mask).lengths == header_lengths{.l2 = 14});
    CHECK(classify(*packet, ptype::l2_mask | ptype::l3_mask).type ==
          (ptype::l2_ether | ptype::l3_ipv4));
    CHECK(set_packet_type(*packet) == packet->packet_type);
    const auto offload = tx_offload_parts::unpack(packet->tx_offload);
    CHECK(offload == tx_offload_parts{.l2_len = 30, .outer_l3_len = 20, .outer_l2_len = 14});
    free(packet);
}

TEST_CASE("tx_offload keeps each length in its bits", "[packet][type]")
{
    const tx_offload_parts parts{.l2_len = 0x7f,
                                 .l3_len = 0x1ff,
                                 .l4_len = 0xff,
                                 .tso_segsz = 0xffff,
                                 .outer_l3_len = 0x1ff,
                                 .outer_l2_len = 0x7f};

    CHECK(tx_offload_parts::unpack(parts.pack()) == parts);
    CHECK(parts.pack() == (std::uint64_t{1} << 56) - 1);
    CHECK(tx_offload_parts{.l3_len = 20}.pack() == 20 << 7);
    CHECK(tx_offload_parts{.l2_len = 0x80}.pack() == 0);
}

TEST_CASE("checksums are filled and verified over chains, of both IP versions",
          "[packet][checksum]")
{
    with_pool with;
    octets payload(301);
    for (std::size_t i = 0; i != payload.size(); ++i)
        payload[i] = static_cast<std::byte>(i * 31);
    const auto l3 = GENERATE(4, 6);
    const auto l4 = GENERATE(6u, 17u);
    const auto body = l4 == 6 ? tcp() + payload : udp(53, payload);
    const auto frame = l3 == 4 ? ether(0x0800) + ipv4(l4, body) : ether(0x86dd) + ipv6(l4, body);
    auto* packet = with.packet_of(frame + zeros(3) /* padding of the link */, 101);

    CHECK(verify_l4_checksum(*packet) ==
          (l3 == 4 && l4 == 17 ? checksum_state::none : checksum_state::bad));
    REQUIRE(fill_checksums(*packet));
    CHECK(verify_l4_checksum(*packet) == checksum_state::good);

    octets all(packet->pkt_len);
    REQUIRE(read(*packet, 0, all));
    const auto ip = std::span<const std::byte>{all}.subspan(14);
    const std::size_t header = l3 == 4 ? 20 : 40;
    const auto segment = ip.subspan(header, body.size());
    const auto field = detail::load_be16(segment, l4 == 6 ? 16 : 6);
    CHECK(l4_checksum(ip, segment) == field);
    CHECK(l4_checksum(*packet) == field);
    CHECK((l3 == 6 || ipv4_header_is_intact(ip)));
    // What a device computes on top of the pseudo-header's sum.
    auto partial = octets{segment.begin(), segment.end()};
    detail::store_be16(partial, l4 == 6 ? 16 : 6, pseudo_header_sum(ip).value());
    CHECK(internet_checksum(std::span<const std::byte>{partial}) == field);

    packet->last().bytes()[5] ^= std::byte{1};
    packet->last().bytes()[0] ^= std::byte{4};
    if (packet->last().data_len > 3 + 6)
        CHECK(verify_l4_checksum(*packet) == checksum_state::bad);
    free(packet);
}

TEST_CASE("what has no checksum gets none", "[packet][checksum]")
{
    with_pool with;
    auto* fragment = with.packet_of(ether(0x0800) + ipv4(17, udp(53), 0x2000));
    CHECK(verify_l4_checksum(*fragment) == checksum_state::unknown);
    CHECK_FALSE(l4_checksum(*fragment));
    CHECK(fill_checksums(*fragment));  // of IP only
    CHECK(ipv4_header_is_intact(fragment->bytes().subspan(14)));
    CHECK_FALSE(internet_checksum(*fragment, 40, 10));
    free(fragment);

    const auto lying = ipv4(17, udp(53));
    auto* cut = with.packet_of(ether(0x0800) + octets{lying.begin(), lying.begin() + 26});
    CHECK(verify_l4_checksum(*cut) == checksum_state::unknown);
    free(cut);
    CHECK_FALSE(ipv4_header_checksum(zeros(20)));
    CHECK_FALSE(ipv4_header_checksum(of({0x45})));
    CHECK_FALSE(pseudo_header_sum(zeros(60)));
    CHECK_FALSE(l4_checksum(zeros(60), zeros(20)));
}

}  // namespace packet_type_test
