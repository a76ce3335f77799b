#include "cohort/packet/checksum.hpp"
#include "cohort/packet/parse.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

namespace {

using namespace cohort;
using frame = std::vector<std::byte>;

/// Pieces of a frame, joined with `+` in the order they have on the wire.
frame hex(std::initializer_list<unsigned> values)
{
    frame out;
    for (const auto value : values)
        out.push_back(static_cast<std::byte>(value));
    return out;
}

frame operator+(frame left, const frame& right)
{
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

frame be16(unsigned value)
{
    return hex({value >> 8, value & 0xff});
}

const frame mac_a = hex({2, 0, 0, 0, 0, 0xa});
const frame mac_b = hex({2, 0, 0, 0, 0, 0xb});
const frame v4_a = hex({10, 0, 0, 1});
const frame v4_b = hex({10, 0, 0, 2});
const frame v6_a = hex({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
const frame v6_b = hex({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});

frame ethernet(unsigned type)
{
    return mac_b + mac_a + be16(type);
}

frame tcp(unsigned from, unsigned to)
{
    return be16(from) + be16(to) + hex({0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0});
}

frame udp(unsigned from, unsigned to, const frame& payload = {})
{
    return be16(from) + be16(to) + be16(8U + unsigned(payload.size())) + be16(0) + payload;
}

/// An IPv4 packet with a correct header checksum; `options` is padded by the caller.
frame ipv4(const frame& from, const frame& to, unsigned protocol, const frame& payload,
           unsigned fragment_field = 0, const frame& options = {})
{
    const auto header_bytes = 20 + unsigned(options.size());
    const auto total = header_bytes + unsigned(payload.size());
    auto header = hex({0x40 | header_bytes / 4, 0}) + be16(total) + be16(0x1234) +
                  be16(fragment_field) + hex({64, protocol, 0, 0}) + from + to + options;
    detail::store_be16(header, 10, internet_checksum(header));
    return header + payload;
}

frame ipv6(const frame& from, const frame& to, unsigned next, const frame& payload)
{
    return hex({0x60, 0, 0, 0}) + be16(unsigned(payload.size())) + hex({next, 64}) + from + to +
           payload;
}

frame ipv6_fragment(unsigned next, unsigned offset_and_flag)
{
    return hex({next, 0}) + be16(offset_and_flag) + hex({0, 0, 0, 7});
}

/// Parses a copy that ends where the packet ends, so that AddressSanitizer sees one byte too far.
parsed_packet parse_exactly(link_type link, std::span<const std::byte> bytes)
{
    const auto copy = std::make_unique<std::byte[]>(bytes.size());
    std::ranges::copy(bytes, copy.get());
    const std::span<const std::byte> exact{copy.get(), bytes.size()};
    const auto packet = parse(link, exact);
    static_cast<void>(flow_hash(packet, exact));
    return packet;
}

bool lies_inside(const parsed_packet& packet, std::size_t size)
{
    constexpr std::array<std::size_t, 3> least{0, 20, 40};  // by l3_kind
    return packet.l2_length <= size && packet.l4_offset() <= size &&
           packet.l3_length >= least.at(static_cast<std::size_t>(packet.l3));
}

std::uint32_t hash_of(const frame& bytes, link_type link = link_type::raw)
{
    return flow_hash(parse(link, bytes), bytes);
}

}  // namespace

TEST_CASE("an IPv4 TCP frame is found header by header", "[packet]")
{
    const auto bytes = ethernet(0x0800) + ipv4(v4_a, v4_b, 6, tcp(40000, 80));

    const auto packet = parse_exactly(link_type::ethernet, bytes);

    CHECK(packet.l2_length == 14);
    CHECK(packet.ether_type == 0x0800);
    CHECK(packet.l3 == l3_kind::ipv4);
    CHECK(packet.l3_length == 20);
    CHECK(packet.l4 == l4_kind::tcp);
    CHECK(packet.l4_offset() == 34);
    CHECK(packet.protocol == 6);
    CHECK(packet.src_port == 40000);
    CHECK(packet.dst_port == 80);
    CHECK_FALSE(packet.truncated);
    CHECK(std::ranges::equal(src_address(packet, bytes), v4_a));
    CHECK(std::ranges::equal(dst_address(packet, bytes), v4_b));
    CHECK(dst_address(packet, std::span{bytes}.first(33)).empty());  // not the bytes parsed
}

TEST_CASE("every link type leads to the IP header, if it is one", "[packet]")
{
    const auto v4 = ipv4(v4_a, v4_b, 17, udp(1, 2));
    const auto v6 = ipv6(v6_a, v6_b, 17, udp(1, 2));
    const auto options = ipv4(v4_a, v4_b, 17, udp(1, 2), 0, frame(8, std::byte{1}));
    auto too_short = v4;
    too_short[0] = std::byte{0x44};
    const auto sll = hex({0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 0xa, 0, 0});
    const auto sll2 = hex({0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 0xa, 0, 0});
    struct sample {
        link_type link;
        frame bytes;
        l3_kind l3;
        std::size_t offset;
    };
    const std::vector<sample> samples{
        {link_type::ethernet, ethernet(0x86dd) + v6, l3_kind::ipv6, 14},
        {link_type::ethernet, ethernet(0x0800) + options, l3_kind::ipv4, 14},
        {link_type::ethernet, ethernet(0x0800) + v6, l3_kind::none, 14},
        {link_type::ethernet, ethernet(0x0800) + too_short, l3_kind::none, 14},
        {link_type::null, hex({2, 0, 0, 0}) + v4, l3_kind::ipv4, 4},
        {link_type::null, hex({0, 0, 0, 30}) + v6, l3_kind::ipv6, 4},
        {link_type::loop, hex({0, 0, 0, 24}) + v6, l3_kind::ipv6, 4},
        {link_type::raw, v4, l3_kind::ipv4, 0},
        {link_type::dlt_raw, v6, l3_kind::ipv6, 0},
        {link_type::ipv4, v4, l3_kind::ipv4, 0},
        {link_type::ipv4, v6, l3_kind::none, 0},
        {link_type::ipv6, v6, l3_kind::ipv6, 0},
        {link_type::ipv6, v4, l3_kind::none, 0},
        {link_type::linux_sll, sll + be16(0x0800) + v4, l3_kind::ipv4, 16},
        {link_type::linux_sll, sll + be16(0x8100) + be16(5) + be16(0x86dd) + v6, l3_kind::ipv6, 20},
        {link_type::linux_sll2, be16(0x86dd) + sll2 + v6, l3_kind::ipv6, 20},
        {link_type{147}, v4, l3_kind::none, 0},
    };

    for (const auto& [link, bytes, l3, offset] : samples) {
        const auto packet = parse_exactly(link, bytes);
        CAPTURE(static_cast<unsigned>(link), bytes.size());
        CHECK(packet.l3 == l3);
        CHECK(packet.l3_offset() == offset);
        CHECK(packet.dst_port == (l3 == l3_kind::none ? 0 : 2));
    }
}

TEST_CASE("up to four VLAN tags are stepped over, the innermost and outermost kept", "[packet]")
{
    const auto qinq = ethernet(0x88a8) + be16(100) + be16(0x8100) + be16(7);
    const auto four = ethernet(0x9100) + be16(1) + be16(0x88a8) + be16(2) + be16(0x8100) + be16(3) +
                      be16(0x8100) + be16(4);
    struct sample {
        frame tags;
        unsigned count, outer, inner;
        l3_kind l3;
    };
    const std::vector<sample> samples{
        {ethernet(0x8100) + be16(0x6005), 1, 0, 0x6005, l3_kind::ipv4},  // as in an mbuf
        {qinq, 2, 100, 7, l3_kind::ipv4},
        {four, 4, 1, 4, l3_kind::ipv4},
        {four + be16(0x8100) + be16(5), 4, 1, 4, l3_kind::none},  // the fifth is not followed
    };

    for (const auto& [tags, count, outer, inner, l3] : samples) {
        const auto bytes = tags + be16(0x0800) + ipv4(v4_a, v4_b, 17, udp(1, 2));
        const auto packet = parse_exactly(link_type::ethernet, bytes);
        CAPTURE(count, outer);
        CHECK(packet.vlan_count == count);
        CHECK(packet.vlan_tci_outer == outer);
        CHECK(packet.vlan_tci == inner);
        CHECK(packet.l2_length == 14 + 4 * count);
        CHECK(packet.l3 == l3);
        CHECK_FALSE(packet.truncated);
    }
}

TEST_CASE("IPv6 extension headers are walked to the transport header", "[packet]")
{
    const auto hop_by_hop = hex({43, 0, 5, 2, 0, 0, 1, 0});
    const auto routing = hex({51, 2, 4, 0, 0, 0, 0, 0}) + v6_b;
    const auto authentication = hex({44, 4, 0, 0}) + frame(20);
    const auto atomic_fragment = ipv6_fragment(60, 0);  // alone, hence a whole packet
    const auto destination = hex({6, 1, 1, 12}) + frame(12);
    const auto headers = hop_by_hop + routing + authentication + atomic_fragment + destination;
    const auto bytes = ethernet(0x86dd) + ipv6(v6_a, v6_b, 0, headers + tcp(443, 50000));

    const auto packet = parse_exactly(link_type::ethernet, bytes);

    CHECK(packet.l3_length == 40 + 8 + 24 + 24 + 8 + 16);
    CHECK(packet.protocol == 6);
    CHECK(packet.l4 == l4_kind::tcp);
    CHECK(packet.dst_port == 50000);
    CHECK_FALSE(packet.is_fragment);
    CHECK_FALSE(packet.truncated);
}

TEST_CASE("more IPv6 extension headers than the stated limit hide the transport header", "[packet]")
{
    const auto chain_of = [](unsigned count) {
        frame headers;
        for (unsigned i = 1; i <= count; ++i)
            headers = headers + hex({i == count ? 17U : 60U, 0, 1, 4, 0, 0, 0, 0});
        return ipv6(v6_a, v6_b, 60, headers + udp(1, 2));
    };

    CHECK(parse_exactly(link_type::raw, chain_of(max_extension_headers)).l4 == l4_kind::udp);
    CHECK(parse_exactly(link_type::raw, chain_of(max_extension_headers + 1)).l4 == l4_kind::none);
}

TEST_CASE("ICMP, ICMPv6 and protocols without ports are told apart", "[packet]")
{
    const auto kind_of = [](const frame& bytes) { return parse_exactly(link_type::raw, bytes).l4; };
    const auto body = hex({8, 0, 0, 0, 0, 1, 0, 1});

    CHECK(kind_of(ipv4(v4_a, v4_b, 1, body)) == l4_kind::icmp);
    CHECK(kind_of(ipv6(v6_a, v6_b, 58, body)) == l4_kind::icmpv6);
    CHECK(kind_of(ipv4(v4_a, v4_b, 47, body)) == l4_kind::other);
    CHECK(kind_of(ipv6(v6_a, v6_b, 50, body)) == l4_kind::other);
    CHECK(kind_of(ipv6(v6_a, v6_b, 59, body)) == l4_kind::none);
}

TEST_CASE("the IP packet ends where its header says, the rest is padding", "[packet]")
{
    const auto empty = ipv4(v4_a, v4_b, 17, {});
    const auto packet = parse_exactly(link_type::raw, empty + hex({0xde, 0xad}) + frame(24));
    CHECK(packet.src_port == 0);
    CHECK(packet.truncated);

    auto offloaded = ipv4(v4_a, v4_b, 6, tcp(1, 2));
    detail::store_be16(offloaded, 2, 0);  // as segmentation offload leaves it: all there is
    CHECK(parse_exactly(link_type::raw, offloaded).dst_port == 2);
}

TEST_CASE("a frame cut at any length says so until all its headers are there", "[packet]")
{
    struct sample {
        link_type link;
        frame bytes;
        std::size_t headers;
    };
    const auto payload = frame(32);
    const auto extensions = hex({44, 0, 1, 4, 0, 0, 0, 0}) + ipv6_fragment(6, 1);
    const std::vector<sample> samples{
        {link_type::ethernet, ethernet(0x0800) + ipv4(v4_a, v4_b, 6, tcp(1, 2) + payload), 54},
        {link_type::ethernet,
         ethernet(0x88a8) + be16(1) + be16(0x8100) + be16(2) + be16(0x86dd) +
             ipv6(v6_a, v6_b, 60, extensions + tcp(1, 2) + payload),
         22 + 40 + 16 + 20},
        {link_type::ethernet,
         ethernet(0x0800) + ipv4(v4_a, v4_b, 17, udp(1, 2, payload), 0, frame(40)), 14 + 60 + 8},
        {link_type::null, hex({2, 0, 0, 0}) + ipv4(v4_a, v4_b, 1, payload), 32},
        {link_type::linux_sll2, be16(0x86dd) + frame(18) + ipv6(v6_a, v6_b, 58, payload), 64},
        {link_type::raw, ipv6(v6_a, v6_b, 51, hex({17, 1}) + frame(10) + udp(1, 2, payload)), 60},
    };

    for (const auto& [link, bytes, headers] : samples) {
        for (std::size_t size = 0; size <= bytes.size(); ++size) {
            const auto packet = parse_exactly(link, std::span{bytes}.first(size));
            CAPTURE(static_cast<unsigned>(link), size);
            REQUIRE(lies_inside(packet, size));
            REQUIRE(packet.truncated == (size < headers));
        }
    }
}

TEST_CASE("random bytes never lead outside the span", "[packet]")
{
    const auto seed = GENERATE(1U, 2U, 3U, 4U);
    CAPTURE(seed);
    std::mt19937 random{seed};
    const std::array<std::uint16_t, 4> types{0x0800, 0x86dd, 0x8100, 0x88a8};

    for (int round = 0; round != 20'000; ++round) {
        frame bytes(random() % 160);
        std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
        // Half of them get past the first check, else few would reach the deeper ones.
        if (bytes.size() >= 15 && random() % 2 == 0) {
            detail::store_be16(bytes, 12, types[random() % types.size()]);
            bytes[14] = random() % 2 == 0 ? std::byte{0x45} : std::byte{0x60};
        }
        for (const auto link : {0U, 1U, 12U, 101U, 108U, 113U, 228U, 229U, 276U, ~0U})
            REQUIRE(lies_inside(parse_exactly(link_type{link}, bytes), bytes.size()));
    }
}

TEST_CASE("both directions of a flow have one hash and one bidirectional key", "[packet]")
{
    const auto there_and_back = GENERATE(
        std::pair{ipv4(v4_a, v4_b, 6, tcp(40000, 80)), ipv4(v4_b, v4_a, 6, tcp(80, 40000))},
        std::pair{ipv6(v6_a, v6_b, 17, udp(40000, 53)), ipv6(v6_b, v6_a, 17, udp(53, 40000))},
        std::pair{ipv4(v4_a, v4_b, 47, frame(8)), ipv4(v4_b, v4_a, 47, frame(8))});
    const auto& [there, back] = there_and_back;

    const auto key = flow_key_of(parse(link_type::raw, there), there);
    const auto answer_key = flow_key_of(parse(link_type::raw, back), back);

    CHECK(hash_of(there) == hash_of(back));
    CHECK(hash_of(there) == flow_hash(key));
    CHECK(key != answer_key);
    CHECK(key == answer_key.reversed());
    CHECK(key.bidirectional() == answer_key.bidirectional());
}

TEST_CASE("swapping only the ports or only the addresses is another flow", "[packet]")
{
    const auto base = hash_of(ipv4(v4_a, v4_b, 6, tcp(1000, 2000)));

    CHECK(hash_of(ipv4(v4_a, v4_b, 6, tcp(2000, 1000))) != base);
    CHECK(hash_of(ipv4(v4_b, v4_a, 6, tcp(1000, 2000))) != base);
    CHECK(hash_of(ipv4(v4_a, v4_b, 17, udp(1000, 2000))) != base);
}

TEST_CASE("flows that differ in one port spread evenly over workers", "[packet]")
{
    constexpr unsigned flows = 8000;
    for (const unsigned workers : {2U, 3U, 8U}) {
        std::vector<unsigned> share(workers);
        for (unsigned port = 0; port != flows; ++port)
            ++share[hash_of(ipv4(v4_a, v4_b, 17, udp(1024 + port, 53))) % workers];

        const auto [least, most] = std::ranges::minmax(share);
        CAPTURE(workers);
        CHECK(least > flows / workers * 85 / 100);
        CHECK(most < flows / workers * 115 / 100);
    }
}

TEST_CASE("all fragments of a datagram have one hash and one key", "[packet]")
{
    const std::vector v4_pieces{
        ipv4(v4_a, v4_b, 17, udp(1000, 2000, frame(16)), 0x2000),  // first, more follow
        ipv4(v4_a, v4_b, 17, frame(24), 0x2003),
        ipv4(v4_a, v4_b, 17, frame(5), 0x0006),
    };
    // The first holds one extension header more, which the others cannot know.
    const auto options = hex({17, 0, 1, 4, 0, 0, 0, 0});
    const auto first = ipv6_fragment(60, 1) + options + udp(1000, 2000, frame(8));
    const std::vector v6_pieces{
        ipv6(v6_a, v6_b, 44, first),
        ipv6(v6_a, v6_b, 44, ipv6_fragment(60, 24 | 1) + frame(24)),
        ipv6(v6_a, v6_b, 44, ipv6_fragment(60, 48) + frame(5)),
    };

    for (const auto& pieces : {v4_pieces, v6_pieces}) {
        std::set<std::uint32_t> hashes;
        std::set<flow_key> keys;
        for (const auto& bytes : pieces) {
            const auto packet = parse_exactly(link_type::raw, bytes);
            CHECK(packet.is_fragment);
            CHECK(packet.l4 == (&bytes == &pieces.front() ? l4_kind::udp : l4_kind::none));
            hashes.insert(flow_hash(packet, bytes));
            keys.insert(flow_key_of(packet, bytes));
        }
        CHECK(hashes.size() == 1);
        CHECK(keys.size() == 1);
    }
}

TEST_CASE("packets that are not IP hash by their Ethernet addresses, elsewhere to 0", "[packet]")
{
    const auto request = mac_a + mac_b + be16(0x0806) + frame(28);
    const auto reply = mac_b + mac_a + be16(0x0806) + frame(28);

    CHECK(hash_of(request, link_type::ethernet) == hash_of(reply, link_type::ethernet));
    CHECK(hash_of(request, link_type::ethernet) != 0);
    CHECK(hash_of(request, link_type::linux_sll) == 0);
    CHECK(flow_key_of(parse(link_type::ethernet, request), request) == flow_key{});
}
