#include "cohort/packet/tx_prepare.hpp"

#include "cohort/packet/ip_checksum.hpp"
#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/mbuf_copy.hpp"
#include "cohort/packet/vlan.hpp"
#include "support/byte_pattern.hpp"
#include "support/packet_bytes.hpp"
#include "support/scratch_domain.hpp"

#include <array>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using namespace cohort::mbuf_flag;
using cohort::test::byte_pattern;
using cohort::test::bytes_of;
using cohort::test::scratch_domain;

namespace {

/// Ethernet, IPv4 or IPv6 with a hop-by-hop header, TCP or UDP, and so many bytes of payload.
struct wanted_packet {
    bool ipv6 = false;
    bool tcp = false;
    std::size_t payload = 0;

    [[nodiscard]] std::uint16_t l3_bytes() const { return ipv6 ? 48 : 24; }
    [[nodiscard]] std::uint16_t l4_bytes() const { return tcp ? 20 : 8; }
    [[nodiscard]] std::uint64_t flags() const
    {
        return (ipv6 ? tx_ipv6 : tx_ipv4 | tx_ip_cksum) | (tcp ? tx_tcp_cksum : tx_udp_cksum);
    }
    [[nodiscard]] std::vector<std::byte> bytes() const
    {
        auto all = byte_pattern(14u + l3_bytes() + l4_bytes() + payload);
        const auto at = [&](std::size_t offset) { return std::span{all}.subspan(offset); };
        const auto inner = static_cast<std::uint16_t>(l4_bytes() + payload);
        const auto protocol = tcp ? std::byte{6} : std::byte{17};
        detail::store_be16(all, 12, ipv6 ? 0x86dd : 0x0800);
        if (ipv6) {
            all[14] = std::byte{0x60};
            detail::store_be16(at(14), 4, static_cast<std::uint16_t>(inner + 8));
            all[14 + 6] = std::byte{0};
            all[14 + 40] = protocol;
            all[14 + 41] = std::byte{0};
        } else {
            all[14] = std::byte{0x46};  // a word of options
            detail::store_be16(at(14), 2, static_cast<std::uint16_t>(inner + 24));
            detail::store_be16(at(14), 6, 0);  // no fragment
            all[14 + 9] = protocol;
        }
        if (tcp)
            all[14u + l3_bytes() + 12] = std::byte{0x50};
        else
            detail::store_be16(at(14u + l3_bytes()), 4, inner);
        return all;
    }
};

struct one_pool {
    scratch_domain domain;
    pktmbuf_pool pool =
        domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8, .data_room = 128 + 100});

    mbuf* packet_of(const std::vector<std::byte>& bytes) { return test::packet_of(pool, bytes); }
    mbuf* packet_of(const wanted_packet& wanted)
    {
        auto* packet = packet_of(wanted.bytes());
        packet->ol_flags |= wanted.flags();
        packet->tx_offload = tx_offload_parts{.l2_len = 14, .l3_len = wanted.l3_bytes()}.pack();
        return packet;
    }
    ~one_pool() { CHECK(domain.audit().clean()); }
};

}  // namespace

TEST_CASE("a VLAN tag that is put in and taken out again leaves the frame as it was",
          "[packet][vlan]")
{
    one_pool scene;
    for (const std::size_t length : {12u, 14u, 60u, 100u, 250u}) {
        auto* packet = scene.packet_of(byte_pattern(length));
        const auto before = bytes_of(*packet);
        packet->vlan_tci = 0xa123;
        packet->ol_flags |= tx_vlan;

        REQUIRE(vlan_insert(*packet));
        CHECK(find_fault(*packet, true) == nullptr);
        const auto tagged = bytes_of(*packet);
        REQUIRE(tagged.size() == length + 4);
        CHECK(std::equal(before.begin(), before.begin() + 12, tagged.begin()));
        CHECK(detail::load_be16(tagged, 12) == 0x8100);
        CHECK(detail::load_be16(tagged, 14) == 0xa123);
        CHECK(std::equal(before.begin() + 12, before.end(), tagged.begin() + 16));
        CHECK((packet->ol_flags & tx_vlan) == 0);

        packet->vlan_tci = 0;
        REQUIRE(vlan_strip(*packet) == (length >= 14));
        if (length >= 14) {
            CHECK(bytes_of(*packet) == before);
            CHECK(packet->vlan_tci == 0xa123);
            CHECK((packet->ol_flags & (rx_vlan | rx_vlan_stripped)) ==
                  (rx_vlan | rx_vlan_stripped));
            CHECK_FALSE(vlan_strip(*packet));  // there is none any more
        }
        free(packet);
    }
}

TEST_CASE("a frame that others show too, or that has no room, gets no tag and loses none",
          "[packet][vlan]")
{
    one_pool scene;
    auto* packet = scene.packet_of(byte_pattern(60));
    REQUIRE(vlan_insert(*packet));
    auto* other = clone(*packet, scene.pool.objects());
    REQUIRE(other);
    const auto before = bytes_of(*packet);
    for (auto* each : {packet, other}) {
        CHECK_FALSE(vlan_strip(*each));
        CHECK_FALSE(vlan_insert(*each));
        CHECK(bytes_of(*each) == before);
    }
    free(other);
    CHECK(vlan_strip(*packet));
    while (packet->headroom() >= 4)
        REQUIRE(vlan_insert(*packet));
    CHECK_FALSE(vlan_insert(*packet));
    free(packet);
}

TEST_CASE(
    "the checksums that a packet's flags ask for are those of its bytes, whatever stood there",
    "[packet][tx_prepare]")
{
    one_pool scene;
    const bool ipv6 = GENERATE(false, true);
    const bool tcp = GENERATE(false, true);
    const std::size_t payload = GENERATE(0u, 1u, 17u, 40u, 300u, 1201u);  // up to 13 segments
    const wanted_packet wanted{ipv6, tcp, payload};
    auto* packet = scene.packet_of(wanted);
    const auto l2_and_l3 = 14u + wanted.l3_bytes();
    const auto pattern = bytes_of(*packet);

    CHECK(prepare_tx(*packet) == nullptr);

    CHECK(verify_l4_checksum(*packet) == checksum_state::good);
    if (!ipv6)
        CHECK(ipv4_header_is_intact(view(*packet, 14, wanted.l3_bytes())));
    CHECK((packet->ol_flags & (tx_ip_cksum | tx_l4_mask)) == 0);
    auto after = bytes_of(*packet);
    const auto field = l2_and_l3 + (tcp ? 16 : 6);
    for (const auto at : {std::size_t{field}, std::size_t{ipv6 ? field : 14u + 10u}})
        std::copy_n(pattern.begin() + static_cast<std::ptrdiff_t>(at), 2,
                    after.begin() + static_cast<std::ptrdiff_t>(at));
    CHECK(after == pattern);  // nothing else was written
    free(packet);
}

TEST_CASE("a UDP checksum that comes out as 0 is sent as its other form", "[packet][tx_prepare]")
{
    one_pool scene;
    const wanted_packet wanted{.payload = 2};
    auto* packet = scene.packet_of(wanted);
    const auto payload = view(*packet, 14u + 24u + 8u, 2);
    const auto sum_at = 14u + 24u + 6u;
    REQUIRE(prepare_tx(*packet) == nullptr);
    // One that adds what the checksum has to make up for leaves it nothing.
    const auto sum = detail::load_be16(view(*packet, sum_at, 2), 0);
    detail::store_be16(payload, 0,
                       detail::fold(std::uint64_t{detail::load_be16(payload, 0)} + sum));
    packet->ol_flags |= wanted.flags();

    REQUIRE(prepare_tx(*packet) == nullptr);

    CHECK(detail::load_be16(view(*packet, sum_at, 2), 0) == 0xffff);
    CHECK(verify_l4_checksum(*packet) == checksum_state::good);
    free(packet);
}

TEST_CASE("what was prepared is not changed by preparing it again, tags included",
          "[packet][tx_prepare]")
{
    one_pool scene;
    auto* packet = scene.packet_of(wanted_packet{.tcp = true, .payload = 50});
    packet->ol_flags |= tx_vlan;
    packet->vlan_tci = 7;
    REQUIRE(prepare_tx(*packet) == nullptr);
    const auto ready = bytes_of(*packet);
    CHECK(verify_l4_checksum(*packet) == checksum_state::good);
    CHECK(tx_offload_parts::unpack(packet->tx_offload).l2_len == 18);
    CHECK(detail::load_be16(ready, 14) == 7);

    CHECK(prepare_tx(*packet) == nullptr);

    CHECK(bytes_of(*packet) == ready);
    free(packet);
}

TEST_CASE(
    "a packet that cannot be sent says why and stays as it was, and those before it are ready",
    "[packet][tx_prepare]")
{
    one_pool scene;
    const auto spoil = [](auto change) { return [change](mbuf& packet) { change(packet); }; };
    const std::vector<std::pair<std::string, std::function<void(mbuf&)>>> faults{
        {"empty", spoil([](mbuf& p) {
             p.data_len = 0;
             p.pkt_len = 0;
         })},
        {"offload", spoil([](mbuf& p) { p.ol_flags |= tx_tcp_seg; })},
        {"offload", spoil([](mbuf& p) { p.ol_flags |= tx_qinq; })},
        {"offload",
         spoil([](mbuf& p) { p.ol_flags = (p.ol_flags & ~tx_l4_mask) | tx_sctp_cksum; })},
        {"IPv4 and IPv6", spoil([](mbuf& p) { p.ol_flags |= tx_ipv6; })},
        {"not tx_ipv4", spoil([](mbuf& p) { p.ol_flags ^= tx_ipv4 | tx_ipv6; })},
        {"neither", spoil([](mbuf& p) { p.ol_flags &= ~(tx_ipv4 | tx_ip_cksum); })},
        {"l2_len", spoil([](mbuf& p) { p.tx_offload = 0; })},
        {"l2_len", spoil([](mbuf& p) {
             p.tx_offload = tx_offload_parts{.l2_len = 100, .l3_len = 24}.pack();
         })},
        {"L4 header", spoil([](mbuf& p) {
             p.tx_offload = tx_offload_parts{.l2_len = 14, .l3_len = 50}.pack();
         })},
        {"shorter", spoil([](mbuf& p) { CHECK(p.trim(1)); })},
        {"room", spoil([](mbuf& p) {
             p.ol_flags |= tx_vlan;
             while (p.headroom() >= 4)
                 CHECK(vlan_insert(p));
             p.ol_flags |= tx_vlan;
         })},
    };
    for (const auto& [word, change] : faults) {
        std::array<mbuf*, 3> burst{};
        for (auto*& packet : burst)
            packet = scene.packet_of(wanted_packet{.payload = 20});
        change(*burst[1]);
        const auto before = bytes_of(*burst[1]);
        const auto flags = burst[1]->ol_flags;

        const auto done = prepare_tx(burst);

        INFO(word << ": " << (done.why ? done.why : "-"));
        CHECK(done.count == 1);
        REQUIRE(done.why != nullptr);
        CHECK(std::string{done.why}.find(word) != std::string::npos);
        CHECK(bytes_of(*burst[1]) == before);
        CHECK(burst[1]->ol_flags == flags);
        CHECK(verify_l4_checksum(*burst[0]) == checksum_state::good);
        CHECK(verify_l4_checksum(*burst[2]) == checksum_state::bad);
        free_bulk(burst);
    }
}

TEST_CASE("headers that a clone shows as well are not written to", "[packet][tx_prepare]")
{
    one_pool scene;
    auto* packet = scene.packet_of(wanted_packet{.payload = 20});
    auto* other = clone(*packet, scene.pool.objects());
    REQUIRE(other);
    const auto before = bytes_of(*packet);
    const auto* why = prepare_tx(*packet);
    REQUIRE(why != nullptr);
    CHECK(std::string{why}.find("copy") != std::string::npos);
    CHECK(bytes_of(*other) == before);
    free(other);
    CHECK(prepare_tx(*packet) == nullptr);
    free(packet);
}

TEST_CASE("a tag that is taken out counts no more in the lengths of a checksum that is missing",
          "[packet][vlan]")
{
    one_pool scene;
    auto* packet = scene.packet_of(wanted_packet{.payload = 20});
    packet->vlan_tci = 5;
    REQUIRE(vlan_insert(*packet));
    REQUIRE(tx_offload_parts::unpack(packet->tx_offload).l2_len == 18);

    REQUIRE(vlan_strip(*packet));

    CHECK(tx_offload_parts::unpack(packet->tx_offload).l2_len == 14);
    CHECK(prepare_tx(*packet) == nullptr);
    CHECK(verify_l4_checksum(*packet) == checksum_state::good);
    free(packet);
}

TEST_CASE("what a device cannot be asked for is told in words, and the rest is left to it",
          "[packet][tx_prepare]")
{
    one_pool scene;
    const auto fault_with = [&](const wanted_packet& wanted, std::uint64_t flags,
                                tx_offload_parts lengths) {
        auto* packet = scene.packet_of(wanted);
        packet->ol_flags |= flags;
        packet->tx_offload = lengths.pack();
        const auto* why = fault_for_device(*packet);
        const auto state = verify_l4_checksum(*packet);
        free(packet);
        CHECK(state == checksum_state::bad);  // nothing is written
        return std::string{why ? why : ""};
    };
    const wanted_packet tcp{.tcp = true, .payload = 20};
    const wanted_packet udp{.payload = 20};
    const auto has = [](const std::string& text, const char* word) {
        return text.find(word) != std::string::npos;
    };
    CHECK(fault_with(tcp, 0, {.l2_len = 14, .l3_len = 24}).empty());
    CHECK(fault_with(tcp, tx_tcp_seg, {.l2_len = 14, .l3_len = 24, .l4_len = 20, .tso_segsz = 10})
              .empty());
    CHECK(has(fault_with(tcp, tx_tcp_seg, {.l2_len = 14, .l3_len = 24, .l4_len = 20}), "tso"));
    CHECK(has(fault_with(udp, tx_udp_seg, {.l2_len = 14, .l3_len = 24}), "does not have"));
    CHECK(has(fault_with(udp, tx_vlan, {.l2_len = 14, .l3_len = 24}), "does not have"));
    CHECK(has(fault_with(udp, 0, {.l2_len = 14, .l3_len = 300}), "shorter"));
    CHECK(has(fault_with(udp, 0, {.l2_len = 14, .l3_len = 10}), "no IP header"));
    CHECK(has(fault_with(udp, tx_ipv6, {.l2_len = 14, .l3_len = 24}), "IPv4 and IPv6"));
}
