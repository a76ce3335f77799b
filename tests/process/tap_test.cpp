// A tap interface that several members serve: the kernel's own stack and numbered frames on one
// side, and on the other processes that are killed, the creator first.

#include "process/mover_stand.hpp"
#include "support/network_host.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"

#include <array>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr mover_stand::options tap_stand{.domain = "tap", .memory = 32_MiB, .count = 2048};
}  // namespace

TEST_CASE("the kernel's echo requests are answered by a member through a tap port, also by the "
          "next when it is killed",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    mover_stand stand{tap_stand};
    stand.domain().create_port("wire", "tap:iface=tap", {.rx_pool = "packets"});
    scratch_network::run("ip addr add 10.77.0.1/24 dev tap");
    const pinger kernel{::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP), "10.77.0.2"};

    for (std::uint16_t round = 1; round != 4; ++round) {
        stand.spawn(0, "answer");
        CHECK(eventually([&] {
            kernel.ask(round);
            const auto answered = kernel.answer();
            return answered == round;
        }));
        stand.kill(0);
    }
}

TEST_CASE("who serves a tap interface is killed, its creator first, and no frame is lost "
          "uncounted, doubled or damaged in either direction",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    constexpr std::size_t kills = 5;
    const std::size_t all = scaled(3'000, 500'000);
    mover_stand stand{tap_stand};
    stand.spawn(0, "create", "tap:iface=tap");
    two_way_traffic traffic{stand, "tap", {.all = all, .most_at_once = 400}};

    traffic.kill_on_the_way(kills);

    CHECK(traffic.step_until([&] { return traffic.is_complete(); }));
    traffic.check(kills);
    stand.kill(0);
    CHECK(eventually([&] { return stand.is_empty(); }));
}

TEST_CASE("of two members at two queues the creator is killed: the other's queue goes on, and a "
          "third takes over the dead one's",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    const std::size_t some = scaled(100, 50'000);
    mover_stand stand{tap_stand};
    stand.spawn(0, "create", "tap:iface=tap,queues=2");
    stand.spawn(1, "both");
    two_way_traffic traffic{
        stand, "tap", {.all = 10'000'000, .most_at_once = 400, .kind = flow_frames}};
    REQUIRE(traffic.step_until(traffic.moved(0, some)));
    REQUIRE(traffic.step_until(traffic.moved(1, some)));

    stand.kill(0);
    CHECK(traffic.step_until(traffic.moved(1, some)));
    stand.spawn(0, "both");
    CHECK(traffic.step_until(traffic.moved(0, some)));

    CHECK(traffic.finish());
    traffic.check(1);
    stand.kill(0);
    stand.kill(1);
    CHECK(eventually([&] { return stand.is_empty(); }));
}

TEST_CASE(
    "a tap port is destroyed while another member has it open, and the next one gets every frame",
    "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    constexpr std::size_t all = 64;
    mover_stand stand{tap_stand};
    stand.spawn(0, "create", "tap:iface=tap,queues=2");
    REQUIRE(stand.domain().destroy_port("wire"));  // by who has not opened it

    auto next =
        stand.domain().create_port("wire", "tap:iface=tap,queues=2", {.rx_pool = "packets"});
    const raw_station kernel{"tap"};
    for (std::size_t i = 0; i != all; ++i)
        REQUIRE(kernel.send(flow_frame_of(i)));
    arrivals arrived{all, flow_frames};
    CHECK(eventually([&] {
        std::array<mbuf*, 8> burst;
        for (std::uint16_t queue = 0; queue != 2; ++queue)
            arrived.take(std::span{burst}.first(next.rx_burst(queue, burst)));
        return arrived.count() == all;
    }));
    CHECK(arrived.doubled() == 0);
    stand.kill(0);
    CHECK(stand.domain().destroy_port("wire"));
}

TEST_CASE("a tap interface goes with the last process that has it, however that one ends",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    check_gone_with_the_last("tap:iface=tap", [] { return ::if_nametoindex("tap") != 0; });
}

TEST_CASE("a frame longer than a buffer is received as a chain, and a chain is sent as one frame",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    mover_stand stand{tap_stand};
    auto port =
        stand.domain().create_port("wire", "tap:iface=tap,mtu=9000", {.rx_pool = "packets"});
    auto small = stand.domain().create_pktmbuf_pool(
        "small", {.count = 256, .cache_size = 0, .data_room = mbuf_headroom + 64});
    const raw_station kernel{"tap"};
    for (const std::size_t length : {8'000u, 60u, 9'014u}) {
        auto frame = frame_of(7);
        frame.resize(length, 'x');

        REQUIRE(kernel.send(frame));
        mbuf* got = nullptr;
        REQUIRE(eventually([&] { return port.rx_burst(0, {&got, 1}) == 1; }));
        CHECK(find_fault(*got, true) == nullptr);
        CHECK(got->nb_segs == (length + 2'047) / 2'048);
        CHECK(text_of(*got) == frame);
        free(got);
        CHECK(stand.is_empty());

        auto* chain = packet_of(small, frame);
        CHECK(port.tx_burst(0, {&chain, 1}) == 1);
        std::string seen;
        CHECK(eventually([&] { return !(seen = kernel.receive()).empty(); }));
        CHECK(seen == frame);
        CHECK(small.objects().in_use() == 0);
    }
    CHECK(port.rx_stats().errors == 0);
    CHECK(port.tx_stats().errors == 0);
}

}  // namespace cohort::test
