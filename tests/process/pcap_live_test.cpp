// A pcap port at an interface: what arrives, what is sent, and what is refused.

#include "process/port_domain.hpp"
#include "support/capture_bytes.hpp"
#include "support/eventually.hpp"
#include "support/lost_thread.hpp"
#include "support/packet_bytes.hpp"
#include "support/port_receive.hpp"
#include "support/skip.hpp"
#include "support/without_capability.hpp"

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

std::string frame_number(std::size_t number)
{
    auto frame = "\x02....a\x02....b\x88\xb5 number " + std::to_string(number) + ' ';
    frame.resize(80, '.');
    return frame;
}

/// The next frame that the station hears.
std::string heard_by(const raw_station& station)
{
    std::string frame;
    static_cast<void>(eventually([&] { return !(frame = station.receive()).empty(); }));
    return frame;
}

}  // namespace

TEST_CASE("a pcap port at an interface receives what arrives and not what it sends", "[port][pcap]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    port_domain scratch{buffers};
    auto port = scratch.make("pcap:iface=near,snaplen=60");
    const raw_station far{"far"};
    CHECK(port.link().up);
    REQUIRE(receive_now(port) == 0);  // the capture begins
    const auto before = wall_clock_ns();

    constexpr std::size_t count = 20;
    for (std::size_t number = 0; number != count; ++number)
        REQUIRE(far.send(frame_number(number)));
    CHECK(port.rx_wait(0, deadline_in(patience)) == rx_wake::ready);
    const auto packets = receive(port, count);
    REQUIRE(packets.size() == count);
    for (std::size_t number = 0; number != count; ++number) {
        CHECK(text_of(*packets[number]) == frame_number(number).substr(0, 60));
        CHECK(packets[number]->wire_len == 80);
        CHECK(packets[number]->timestamp >= before);
    }
    CHECK(port.rx_wait(0, deadline_in(1ms)) == rx_wake::nothing);

    CHECK(port.tx_burst(0, packets) == count);
    for (std::size_t number = 0; number != count; ++number)
        CHECK(heard_by(far) == frame_number(number).substr(0, 60));
    auto* whole = packet_of(scratch.pool(), std::string(1400, 'a') + std::string(100, 'b'));
    auto* tail = packet_of(scratch.pool(), "the end");
    REQUIRE(chain(*whole, *tail));
    CHECK(port.tx_burst(0, {&whole, 1}) == 1);
    CHECK(heard_by(far) == std::string(1400, 'a') + std::string(100, 'b') + "the end");
    auto* giant = packet_of(scratch.pool(), std::string(1600, 'a'));
    CHECK(port.tx_burst(0, {&giant, 1}) == 1);  // longer than the interface takes

    CHECK(receive_now(port) == 0);
    CHECK(port.rx_stats().packets == count);
    CHECK(port.tx_stats().packets == count + 1);
    CHECK(port.tx_stats().errors == 1);
    CHECK(scratch.pool().objects().in_use() == 0);
    CHECK(audit(scratch.domain().mapping()).clean());
}

TEST_CASE("what the owner of a live capture had taken and not delivered counts as missed",
          "[port][pcap]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    port_domain scratch{2};
    auto port = scratch.make("pcap:rx_iface=near");
    const raw_station far{"far", raw_station::hears::nothing};
    std::vector<mbuf*> held;
    run_and_lose([&] {
        static_cast<void>(receive_now(port));
        for (std::size_t number = 0; number != 3; ++number)
            static_cast<void>(far.send(frame_number(number)));
        held = receive(port, 2);
        static_cast<void>(eventually([&] {  // the third finds no buffer
            return receive_now(port) == 0 && port.rx_stats().no_buffer != 0;
        }));
    });
    REQUIRE(held.size() == 2);
    free_bulk(held);  // they are the member's still

    REQUIRE(receive_now(port) == 0);
    CHECK(port.rx_stats().missed == 1);
    REQUIRE(far.send(frame_number(7)));
    const auto packets = receive(port, 1);
    REQUIRE(packets.size() == 1);
    CHECK(text_of(*packets[0]) == frame_number(7));
    free(packets[0]);
    CHECK(port.rx_stats().packets == 3);
}

TEST_CASE("a capture is replayed at an interface with the gaps that were recorded", "[port][pcap]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    port_domain scratch{buffers};
    const scratch_directory files;
    const auto path = (files.path() / "in.pcap").string();
    auto capture = capture_bytes::pcap();
    constexpr std::uint64_t gap = 20'000'000;
    for (std::size_t number = 0; number != 4; ++number)
        capture.record(number * gap, frame_number(number));
    std::ofstream{path, std::ios::binary} << capture.text();
    auto port = scratch.make("pcap:rx=" + path + ",rate=recorded,tx_iface=near");
    const raw_station far{"far"};

    REQUIRE(port.tx_burst(0, {}) == 0);  // opens the interface
    const auto start = monotonic_ns();
    std::size_t sleeps = 0;
    for (std::size_t sent = 0; !port.rx_ended(0);) {
        mbuf* packet = nullptr;
        if (port.rx_burst(0, {&packet, 1}) == 1) {
            CHECK(monotonic_ns() - start >= sent++ * gap);
            REQUIRE(port.tx_burst(0, {&packet, 1}) == 1);
        } else if (port.rx_wait(0, deadline_in(patience)) == rx_wake::ready) {
            ++sleeps;
        }
    }
    CHECK(sleeps >= 1);
    CHECK(sleeps <= 20);  // three are enough
    for (std::size_t number = 0; number != 4; ++number)
        CHECK(heard_by(far) == frame_number(number));
    CHECK(scratch.pool().objects().in_use() == 0);
}

TEST_CASE(
    "an interface that goes away from a pcap port is told, not at each look, and wakes nobody",
    "[port][pcap]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    port_domain scratch{buffers};
    auto port = scratch.make("pcap:iface=near");
    REQUIRE(receive_now(port) == 0);
    scratch_network::run("ip link del near");

    CHECK(eventually([&] { return !port.link().up; }));
    auto* packet = packet_of(scratch.pool(), frame_number(0));
    const auto taken = port.tx_burst(0, {&packet, 1});
    if (taken == 0)
        free(packet);
    for (int look = 0; look != 100; ++look)
        REQUIRE(receive_now(port) == 0);
    CHECK(port.rx_stats().errors >= 1);
    CHECK(port.rx_stats().errors <= 3);  // it went down, and away
    CHECK(port.rx_wait(0, deadline_in(150ms)) == rx_wake::nothing);
    CHECK(scratch.pool().objects().in_use() == 0);
}

TEST_CASE("what a live pcap port cannot be is told in one sentence", "[port][pcap]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    port_domain scratch{buffers};
    const auto refusal = [&](const std::string& options, const std::vector<std::string>& words) {
        INFO(options);
        return scratch.refusal_of("pcap:" + options, {.rx_pool = "packets"}, words);
    };
    CHECK(refusal("iface=nothing", {"nothing", "ip link"}) == errc::not_found);
    CHECK(refusal("rx=a.pcap,rx_iface=near", {"not both", "near"}) == errc::invalid_argument);
    CHECK(refusal("tx=a.pcap,iface=near", {"not both", "tx_iface"}) == errc::invalid_argument);
    CHECK(refusal("iface=near,rate=5", {"rate=", "rx=FILE"}) == errc::invalid_argument);
    CHECK(refusal("iface=near,loops=5", {"loops=", "rx=FILE"}) == errc::invalid_argument);
    CHECK(refusal("iface=near,linktype=1", {"linktype=", "tx=FILE"}) == errc::invalid_argument);
    CHECK(refusal("tx_iface=near,promiscuous=1", {"promiscuous="}) == errc::invalid_argument);
    CHECK(refusal("tx_iface=near,snaplen=100", {"snaplen="}) == errc::invalid_argument);
    CHECK(refusal("iface=near,rx_iface=near,tx_iface=far", {"for both"}) == errc::invalid_argument);
    CHECK(refusal("rx_iface=any", {"any", "ip link"}) == errc::not_found);
    CHECK(refusal("iface=near,snaplen=13", {"13", "14"}) == errc::invalid_argument);
    CHECK(refusal("iface=near,promiscuous=2", {"promiscuous=2"}) == errc::invalid_argument);
    {
        const without_capability less{CAP_NET_RAW};
        CHECK(refusal("iface=near", {"CAP_NET_RAW", "near"}) == errc::no_permission);
    }
    scratch_network::run("ip link set near down");
    CHECK(refusal("iface=near", {"near", "ip link set near up"}) == errc::invalid_argument);
}

}  // namespace cohort::test
