// What a port does to packets between driver and caller.

#include "cohort/port/port_offload.hpp"

#include "cohort/packet/ip_checksum.hpp"
#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/packet_type.hpp"
#include "cohort/packet/parse.hpp"
#include "cohort/port/port_capture.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"
#include "support/eventually.hpp"

#include <array>
#include <fstream>
#include <string>

namespace cohort::test {
namespace {

using namespace std::string_literals;

constexpr std::uint16_t tag = 0x2064;

/// UDP over IPv4 from one of two stations to the other, without checksums.
std::string datagram(bool back)
{
    const auto a = "\x0a\x4d\x00\x05"s;
    const auto b = "\x0a\x4d\x00\x06"s;
    auto frame = "\x02....a\x02....b\x08\x00"s;
    frame += "\x45\x00\x00\x48\x00\x00\x40\x00\x40\x11\x00\x00"s;
    frame += back ? b + a + "\x20\x00\x10\x00"s : a + b + "\x10\x00\x20\x00"s;
    frame += "\x00\x34\x00\x00"s;
    frame.resize(86, '.');
    return frame;
}

std::string tagged(std::string frame)
{
    return frame.insert(12, "\x81\x00\x20\x64"s);
}

/// Asks for what a DPDK application would ask for.
mbuf* asking(mbuf* packet, std::uint64_t flags)
{
    packet->ol_flags |= flags;
    packet->tx_offload = tx_offload_parts{.l2_len = 14, .l3_len = 20, .l4_len = 8}.pack();
    packet->vlan_tci = tag;
    return packet;
}

constexpr auto all_checksums =
    mbuf_flag::tx_ipv4 | mbuf_flag::tx_ip_cksum | mbuf_flag::tx_udp_cksum;

}  // namespace

TEST_CASE("what is received is worked on as the port is set, by whichever handle",
          "[port][contract][offload]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    auto other = wired.domain().find_port("port").value();
    other.set_offloads({.vlan_strip = true, .packet_type = true, .flow_hash = true});
    CHECK(wired.port().offloads() == other.offloads());

    wired.supply_one(tagged(datagram(false)));
    wired.supply_one(datagram(true));
    const auto packets = wired.receive(2);

    REQUIRE(packets.size() == 2);
    CHECK(text_of(*packets[0]) == datagram(false));
    CHECK((packets[0]->ol_flags & mbuf_flag::rx_vlan_stripped) != 0);
    CHECK(packets[0]->vlan_tci == tag);
    CHECK(text_of(*packets[1]) == datagram(true));
    CHECK((packets[1]->ol_flags & mbuf_flag::rx_vlan_stripped) == 0);
    for (const auto* packet : packets) {
        CHECK(packet->packet_type == (ptype::l2_ether | ptype::l3_ipv4 | ptype::l4_udp));
        CHECK((packet->ol_flags & mbuf_flag::rx_rss_hash) != 0);
        CHECK(packet->hash.rss ==
              flow_hash(parse(link_type::ethernet, packet->bytes()), packet->bytes()));
    }
    CHECK(packets[0]->hash.rss == packets[1]->hash.rss);
    free_bulk(packets);
}

TEST_CASE("a port that is to do nothing any more leaves packets as they come",
          "[port][contract][offload]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    wired.port().set_offloads({.vlan_strip = true, .packet_type = true, .flow_hash = true});
    wired.port().set_offloads({});

    wired.supply_one(tagged(datagram(false)));
    const auto packets = wired.receive(1);

    REQUIRE(packets.size() == 1);
    CHECK(text_of(*packets[0]) == tagged(datagram(false)));
    CHECK(packets[0]->packet_type == 0);
    free_bulk(packets);
}

TEST_CASE("what is sent is made ready, and what cannot be is dropped and counted",
          "[port][contract][offload]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto& port = wired.port();
    port.set_offloads({.tx_prepare = true});
    auto capture = wired.domain().capture_port("port");
    std::array<mbuf*, 3> burst{};
    for (auto& packet : burst)
        packet = asking(wired.packet(datagram(false)), all_checksums | mbuf_flag::tx_vlan);
    burst[1]->ol_flags |= mbuf_flag::tx_tcp_seg;

    REQUIRE(port.tx_burst(0, burst) == 3);

    CHECK(port.tx_stats().packets == 2);
    CHECK(port.tx_stats().errors == 1);
    for (int i = 0; i != 2; ++i) {
        const auto sent = capture.next();
        REQUIRE(sent);
        std::string text{reinterpret_cast<const char*>(sent->bytes.data()), sent->bytes.size()};
        CHECK(text.substr(0, 18) == tagged(datagram(false)).substr(0, 18));
        auto* packet = wired.packet(text);
        set_packet_type(*packet);
        CHECK(ipv4_header_is_intact(packet->bytes().subspan(18)));
        CHECK(verify_l4_checksum(*packet) == checksum_state::good);
        free(packet);
    }
    CHECK_FALSE(capture.next());
    if (driver != "ring")  // whose packets wait at the other end
        CHECK(eventually([&] {
            static_cast<void>(port.tx_burst(0, {}));  // fetches what the device is done with
            return wired.in_use() == 0;
        }));
}

TEST_CASE("what cannot be made ready holds up nothing, and what is not sound is left alone",
          "[port][offload]")
{
    wired_port wired{"null"};
    auto& port = wired.port();
    port.set_offloads({.tx_prepare = true});
    std::array<mbuf*, 100> burst{};
    for (auto& packet : burst)
        packet = asking(wired.packet(datagram(false)), all_checksums);
    burst[0]->ol_flags |= mbuf_flag::tx_tcp_seg;
    burst[99]->ol_flags |= mbuf_flag::tx_tcp_seg;
    auto* const broken = burst[80];
    broken->nb_segs = 2;

    REQUIRE(port.tx_burst(0, burst) == burst.size());

    CHECK(port.tx_stats().errors == 3);
    CHECK(port.tx_stats().packets == 97);
    CHECK(wired.in_use() == 1);
    broken->nb_segs = 1;
    free(broken);
}

TEST_CASE("what others show or have as well is left as it is received", "[port][offload]")
{
    const bool cloned = GENERATE(true, false);
    wired_port wired{"ring"};
    wired.drain();
    auto port = wired.domain().create_port("b", "ring:rx=out");
    port.set_offloads({.vlan_strip = true, .packet_type = true, .flow_hash = true});
    auto* packet = wired.packet(tagged(datagram(false)));
    mbuf* second = packet;
    if (cloned)
        second = clone(*packet, wired.pool().objects());
    else
        refcnt_update(*packet, 1);
    REQUIRE(second);

    REQUIRE(wired.port().tx_burst(0, {&packet, 1}) == 1);
    mbuf* got = nullptr;
    REQUIRE(port.rx_burst(0, {&got, 1}) == 1);

    CHECK(text_of(*got) == tagged(datagram(false)));
    CHECK((got->packet_type != 0) == cloned);
    CHECK(((got->ol_flags & mbuf_flag::rx_rss_hash) != 0) == cloned);
    free(got);
    free(second);
}

TEST_CASE("of a link that is not Ethernet, no tag and type are looked for, but the flow",
          "[port][offload]")
{
    wired_port wired{"null"};
    const scratch_directory files;
    const auto file = files.path() / "raw.pcap";
    auto capture = capture_bytes::pcap({.link = link_type::raw});
    const auto ip = datagram(false).substr(14);
    capture.record(0, ip);
    std::ofstream{file, std::ios::binary} << capture.text();
    auto port =
        wired.domain().create_port("raw", "pcap:rx=" + file.string(), {.rx_pool = "packets"});
    port.set_offloads({.vlan_strip = true, .packet_type = true, .flow_hash = true});

    mbuf* got = nullptr;
    REQUIRE(port.rx_burst(0, {&got, 1}) == 1);

    CHECK(text_of(*got) == ip);
    CHECK(got->packet_type == 0);
    const auto frame = datagram(true);
    const auto bytes = std::as_bytes(std::span{frame});
    CHECK(got->hash.rss == flow_hash(parse(link_type::ethernet, bytes), bytes));
    free(got);
}

TEST_CASE("a packet that found no room is sent later, made ready once", "[port][offload]")
{
    wired_port wired{"ring"};
    wired.drain();
    auto narrow = wired.domain().create_ring<mbuf*>("narrow", 1);
    auto port = wired.domain().create_port("narrow.port", "ring:tx=narrow");
    port.set_offloads({.tx_prepare = true});
    std::array<mbuf*, 2> burst{};
    for (auto& packet : burst)
        packet = asking(wired.packet(datagram(false)), mbuf_flag::tx_vlan);

    REQUIRE(port.tx_burst(0, burst) == 1);
    mbuf* sent = nullptr;
    REQUIRE(narrow.dequeue(sent));
    free(sent);
    REQUIRE(port.tx_burst(0, std::span{burst}.subspan(1)) == 1);

    REQUIRE(narrow.dequeue(sent));
    CHECK(text_of(*sent) == tagged(datagram(false)));
    CHECK(port.tx_stats().errors == 0);
    free(sent);
}

TEST_CASE("a capture has packets as they were received, not as they were worked on",
          "[port][contract][offload][capture]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    wired.port().set_offloads({.vlan_strip = true});
    auto capture = wired.domain().capture_port("port");

    wired.supply_one(tagged(datagram(false)));
    const auto packets = wired.receive(1);

    REQUIRE(packets.size() == 1);
    CHECK(text_of(*packets[0]) == datagram(false));
    const auto captured = capture.next();
    REQUIRE(captured);
    CHECK(captured->length == packets[0]->pkt_len + 4);
    free_bulk(packets);
}

}  // namespace cohort::test
