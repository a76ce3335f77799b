// An interface that all members share: packets with numbers cross a real veth pair while the
// processes at the port's queues, its creator first, are killed and followed by others.

#include "cohort/base/error.hpp"
#include "process/mover_stand.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"
#include "support/without_capability.hpp"

#include <array>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr mover_stand::options shared_stand{.domain = "shared", .memory = 32_MiB, .count = 1024};

}  // namespace

TEST_CASE("the receivers of an interface are killed, its creator first, and no packet is lost "
          "uncounted, doubled or damaged",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const std::size_t all = scaled(6'000, 1'000'000);
    mover_stand stand{shared_stand};
    stand.spawn(0, "create", "af_packet:iface=near,promiscuous=1");
    auto port = stand.domain().find_port("wire").value();
    const raw_station far{"far"};
    arrivals arrived{all};

    std::size_t sent = 0;
    std::size_t kills = 0;
    const auto until = std::chrono::steady_clock::now() + long_patience;
    while (arrived.count() + port.rx_stats().missed < all &&
           std::chrono::steady_clock::now() < until) {
        for (int i = 0; i != 8 && sent != all && sent < arrived.count() + 400; ++i)
            sent += far.send(frame_of(sent));
        std::array<mbuf*, 32> burst;
        arrived.take(std::span{burst}.first(stand.got().dequeue_burst(burst)));
        if (arrived.count() >= (kills + 1) * (all / 6) && kills != 5) {
            stand.kill(0);
            stand.spawn(0, "rx");
            ++kills;
        }
    }

    CHECK(sent == all);
    CHECK(kills == 5);
    CHECK(arrived.count() + port.rx_stats().missed == all);
    CHECK(arrived.doubled() == 0);
    CHECK(arrived.damaged() == 0);
    stand.kill(0);
    CHECK(eventually([&] { return stand.is_empty(); }));
}

TEST_CASE("the senders of an interface are killed and each packet is on the wire once",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const std::size_t all = scaled(6'000, 1'000'000);
    mover_stand stand{shared_stand};
    stand.domain().create_port("wire", "af_packet:iface=near");
    const raw_station far{"far"};
    stand.spawn(0, "tx");
    arrivals arrived{all};

    std::size_t made = 0;
    std::size_t kills = 0;
    const auto until = std::chrono::steady_clock::now() + long_patience;
    while (arrived.count() < all && std::chrono::steady_clock::now() < until) {
        while (made != all && made < arrived.count() + 400) {
            if (!enqueue_frame(stand.outgoing(), stand.waiting(), frame_of(made)))
                break;
            ++made;
        }
        arrived.take(far);
        if (arrived.count() >= (kills + 1) * (all / 6) && kills != 5) {
            stand.kill(0);
            stand.spawn(0, "tx");
            ++kills;
        }
    }

    CHECK(kills == 5);
    CHECK(arrived.count() == all);
    CHECK(arrived.doubled() == 0);
    CHECK(arrived.damaged() == 0);
    stand.kill(0);
    CHECK(eventually([&] { return stand.is_empty(); }));
}

TEST_CASE("an interface that is not there, or down, or options that cannot be, are told in one "
          "sentence",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    mover_stand stand{shared_stand};
    auto& domain = stand.domain();
    for (const auto* spec :
         {"af_packet", "af_packet:iface=nowhere", "af_packet:iface=a_name_that_is_too_long",
          "af_packet:iface=near,queues=9", "af_packet:iface=near,promiscuous=2",
          "af_packet:iface=near,timestamps=exact"}) {
        INFO(spec);
        CHECK_THROWS_AS(domain.create_port("bad", spec), error);
        CHECK_FALSE(domain.find_port("bad"));
    }
    CHECK_THROWS_AS(domain.create_port("bad", "af_packet:iface=near", {.rx_descriptors = 500}),
                    error);
    CHECK_THROWS_WITH(domain.create_port("bad", "af_packet:iface=near,timestamps=hardware"),
                      Catch::Contains("no time stamps of its device"));

    {
        const without_capability less{CAP_NET_RAW};
        CHECK_THROWS_WITH(domain.create_port("bad", "af_packet:iface=near"),
                          Catch::Contains("CAP_NET_RAW"));
    }

    auto port = domain.create_port("wire", "af_packet:iface=near,queues=2", {.rx_pool = "packets"});
    CHECK(port.layout().mtu == 1500);
    scratch_network::run("ip link set near down");
    auto* packet = stand.outgoing().alloc_chain(100);
    static_cast<void>(port.tx_burst(0, {&packet, 1}));
    CHECK(port.layout().tx[0].last_errno.load() != 0);
    scratch_network::run("ip link del near");
    std::array<mbuf*, 4> burst;
    CHECK(port.rx_burst(1, burst) == 0);
    const auto errors = port.tx_stats().errors;
    packet = stand.outgoing().alloc_chain(100);
    if (port.tx_burst(0, {&packet, 1}) == 0)
        free(packet);
    CHECK(port.tx_stats().errors > errors);
    CHECK(domain.destroy_port("wire"));
}

TEST_CASE("a packet longer than the interface takes is counted and dropped, and the next goes out",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    mover_stand stand{shared_stand};
    auto port = stand.domain().create_port("wire", "af_packet:iface=near");
    const raw_station far{"far"};
    const auto frame = frame_of(3);
    std::array<mbuf*, 2> packets{stand.outgoing().alloc_chain(5'000),
                                 packet_of(stand.outgoing(), frame)};

    CHECK(port.tx_burst(0, packets) == 1);
    CHECK(port.tx_burst(0, std::span{packets}.last(1)) == 1);

    CHECK(port.tx_stats().errors == 1);
    CHECK(port.tx_stats().packets == 1);
    std::string got;
    CHECK(eventually([&] { return !(got = far.receive()).empty(); }));
    CHECK(got == frame);
    CHECK(stand.is_empty());
}

TEST_CASE(
    "a packet longer than an MTU that was lowered meanwhile is counted, and goes out when it is "
    "raised",
    "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    mover_stand stand{shared_stand};
    auto port = stand.domain().create_port("wire", "af_packet:iface=near");
    const raw_station far{"far"};
    const auto frame = frame_of(3);
    const auto send_long_one = [&] {
        auto* packet = stand.outgoing().alloc_chain(1'400);
        REQUIRE(write(*packet, 0, std::as_bytes(std::span{frame})));
        return port.tx_burst(0, {&packet, 1});
    };

    scratch_network::run("ip link set near mtu 1280");
    CHECK(send_long_one() == 1);
    CHECK(port.tx_stats().errors == 1);
    CHECK(port.tx_stats().packets == 0);

    scratch_network::run("ip link set near mtu 1500");
    CHECK(send_long_one() == 1);
    CHECK(port.tx_stats().errors == 1);
    CHECK(port.tx_stats().packets == 1);
    std::string got;
    CHECK(eventually([&] { return !(got = far.receive()).empty(); }));
    CHECK(got.size() == 1'400);
    CHECK(stand.is_empty());
}

TEST_CASE("what finds no buffer is dropped and counted as missed where that is wanted",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    mover_stand stand{shared_stand};
    stand.domain().create_pktmbuf_pool("dry", {.count = 4, .cache_size = 0});
    auto port = stand.domain().create_port("wire", "af_packet:iface=near",
                                           {.rx_pool = "dry", .drop_on_empty_pool = true});
    const raw_station far{"far"};
    std::array<mbuf*, 8> got{};
    std::size_t count = 0;
    const auto receive = [&] { count += port.rx_burst(0, std::span{got}.subspan(count)); };

    for (unsigned i = 0; i != 8; ++i)
        REQUIRE(far.send(frame_of(i)));
    CHECK(eventually([&] {
        receive();
        return port.rx_stats().missed >= 4;
    }));
    CHECK(count == 4);
    free_bulk(std::span{got}.first(count));

    count = 0;
    REQUIRE(far.send(frame_of(8)));
    CHECK(eventually([&] {
        receive();
        return count != 0;
    }));
    free_bulk(std::span{got}.first(count));
}

TEST_CASE("packets that the kernel turns down go out with the next burst, which may be empty",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    mover_stand stand{shared_stand};
    auto port = stand.domain().create_port("wire", "af_packet:iface=near");
    REQUIRE(eventually([&] { return port.link().up; }));
    scratch_network::run("ip link set far down");  // and near has no carrier

    constexpr std::size_t all = 3;
    for (std::size_t number = 0; number != all; ++number) {
        auto* packet = packet_of(stand.outgoing(), frame_of(number));
        REQUIRE(port.tx_burst(0, {&packet, 1}) == 1);
    }
    scratch_network::run("ip link set far up");
    REQUIRE(eventually([&] { return port.link().up; }));
    const raw_station far{"far"};
    REQUIRE(port.tx_burst(0, {}) == 0);

    arrivals arrived{all};
    CHECK(eventually([&] {
        arrived.take(far);
        return arrived.count() == all;
    }));
    CHECK(port.tx_stats().errors == 0);

    scratch_network::run("ip link set near down");
    auto* late = packet_of(stand.outgoing(), frame_of(all));
    REQUIRE(port.tx_burst(0, {&late, 1}) == 1);
    const auto errors = port.tx_stats().errors;
    for (int asked = 0; asked != 100; ++asked)
        REQUIRE(port.tx_burst(0, {}) == 0);
    CHECK(port.tx_stats().errors == errors);
    CHECK(stand.is_empty());
}

}  // namespace cohort::test
