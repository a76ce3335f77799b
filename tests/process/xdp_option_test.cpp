// What an AF_XDP port is asked for and cannot be, what it counts, and how it stops.

#include "cohort/port/port_host.hpp"
#include "process/attempt.hpp"
#include "process/port_domain.hpp"
#include "support/eventually.hpp"
#include "support/numbered_frames.hpp"
#include "support/port_receive.hpp"
#include "support/skip.hpp"
#include "support/without_capability.hpp"

#include <array>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr const char* near_spec = "af_xdp:iface=near";

class xdp_domain : public port_domain {
public:
    xdp_domain() : port_domain{256} {}

    port make()
    {
        return port_domain::make(near_spec, {.rx_pool = "packets", .rx_descriptors = 64});
    }
    /// Why there is no port at the near end with the buffers of `pool`.
    [[nodiscard]] errc refusal_with(const char* pool, const std::vector<std::string>& words)
    {
        return refusal_of(near_spec, {.rx_pool = pool}, words);
    }
};

}  // namespace

TEST_CASE("what an AF_XDP port cannot be is told in one sentence, and leaves nothing",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    scratch.domain().create_pktmbuf_pool("few", {.count = 100, .cache_size = 0});
    scratch.domain().create_pktmbuf_pool("narrow",
                                         {.count = 256, .cache_size = 0, .data_room = 1'024});
    const auto refused = [&](const std::string& options, const port_options& wanted,
                             const std::vector<std::string>& words) {
        INFO(options);
        CHECK(scratch.refusal_of("af_xdp:" + options, wanted, words) == errc::invalid_argument);
    };
    const port_options usual{.rx_pool = "packets"};
    refused("", usual, {"iface=NAME"});
    refused("iface=nowhere", usual, {"nowhere", "ip link"});
    refused("iface=near", {}, {"rx_pool"});
    refused("iface=near,colour=blue", usual, {"colour=blue", "iface=VALUE"});
    refused("iface=near,mode=fast", usual, {"mode=fast", "skb", "native"});
    refused("iface=near,queues=9", usual, {"queues=9", "from 1 to 8"});
    refused("iface=near,queues=2", usual, {"near", "queue 1", "queues=1"});
    refused("iface=near", {.rx_pool = "packets", .rx_descriptors = 100}, {"100", "power of two"});
    refused("iface=near", {.rx_pool = "few"}, {"100 buffers", "128"});
    refused("iface=near", {.rx_pool = "narrow"}, {"1024", "2048", "data_room"});
    scratch_network::run("ip link set near mtu 9000");
    refused("iface=near", usual, {"9018", "4096", "MTU"});
    scratch_network::run("ip link set near mtu 1500");
    CHECK(scratch.make().is_started());
}

TEST_CASE("a right that is missing for an AF_XDP port is named with its remedy, and nothing stays",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    const auto refusal_without = [&](std::initializer_list<unsigned> rights, const char* named) {
        INFO(named);
        const without_capability poorer{rights};
        return scratch.refusal_with("packets", {named, "root"});
    };

    CHECK(refusal_without({CAP_NET_RAW}, "CAP_NET_RAW") == errc::no_permission);
    CHECK(refusal_without({CAP_NET_ADMIN, CAP_SYS_ADMIN}, "CAP_NET_ADMIN") == errc::no_permission);
    CHECK(refusal_without({CAP_BPF, CAP_SYS_ADMIN}, "CAP_BPF") == errc::no_permission);

    CHECK(scratch.make().is_started());
}

TEST_CASE("a pool that is larger than what may be locked in memory makes no AF_XDP port, and both "
          "numbers are told",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    {
        const without_capability poorer{CAP_IPC_LOCK};
        const lowered_limit less{RLIMIT_MEMLOCK, 65'536};
        CHECK(scratch.refusal_with("packets", {"65536", "RLIMIT_MEMLOCK", "ulimit -l",
                                               "CAP_IPC_LOCK"}) == errc::no_memory);
    }

    CHECK(scratch.make().is_started());
}

TEST_CASE("a thread without any right claims the queues of an AF_XDP port and moves packets",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    scratch.make();
    const raw_station kernel{"far"};
    const without_capability none{
        {CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_IPC_LOCK}};

    auto port = scratch.domain().find_port("wire").value();
    REQUIRE(kernel.send(frame_of(1)));
    const auto packets = receive(port, 1);
    REQUIRE(packets.size() == 1);
    CHECK(port.tx_burst(0, packets) == 1);

    CHECK(eventually([&] { return kernel.receive() == frame_of(1); }));
    CHECK(port.rx_stats().errors + port.tx_stats().errors == 0);
}

TEST_CASE("an AF_XDP port whose destroyer ended once the kernel had let go receives from its next "
          "start on",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    auto port = scratch.make();
    const raw_station kernel{"far"};
    {
        port_closing closing{port.layout(), "wire"};  // what its reaper undoes
        closing.take_all("wire");
        find_port_driver("af_xdp").let_go(port.layout(), scratch.domain().ports());
    }
    REQUIRE_FALSE(port.is_started());

    port.start();

    for (std::size_t i = 0; i != 3; ++i)
        REQUIRE(kernel.send(frame_of(i)));
    const auto packets = receive(port, 3);
    REQUIRE(packets.size() == 3);
    CHECK(text_of(*packets[0]) == frame_of(0));
    free_bulk(packets);
    CHECK(port.find_fault() == nullptr);
}

TEST_CASE("an interface that has a program or a socket already is not taken away from it",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    auto port = scratch.make();
    scratch.domain().create_pktmbuf_pool("others", {.count = 256, .cache_size = 0});

    CHECK(scratch.refusal_with("others", {"near", "queue 0"}) == errc::in_use);
    REQUIRE(raw_station{"far"}.send(frame_of(1)));
    const auto packets = receive(port, 1);
    CHECK(packets.size() == 1);
    free_bulk(packets);
}

TEST_CASE("a frame that was received is the buffer that the kernel wrote it into, and one of the "
          "same pool is sent from where it lies",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    auto port = scratch.make();
    const raw_station kernel{"far"};
    for (const std::size_t number : {1u, 1'399u}) {
        REQUIRE(kernel.send(frame_of(number)));
        const auto packets = receive(port, 1);
        REQUIRE(packets.size() == 1);
        CHECK(text_of(*packets[0]) == frame_of(number));
        CHECK(find_fault(*packets[0], true) == nullptr);
        CHECK(packets[0]->timestamp != 0);

        CHECK(port.tx_burst(0, packets) == 1);
        std::string seen;
        CHECK(eventually([&] { return !(seen = kernel.receive()).empty(); }));
        CHECK(seen == frame_of(number));
        CHECK(port.find_fault() == nullptr);
    }
}

TEST_CASE("packets of other pools, chains and shared ones are sent by an AF_XDP port as well",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    auto port = scratch.make();
    auto small = scratch.domain().create_pktmbuf_pool(
        "small", {.count = 256, .cache_size = 0, .data_room = mbuf_headroom + 64});
    const raw_station kernel{"far"};
    std::vector<mbuf*> packets;
    for (std::size_t i = 0; i != 50; ++i)
        packets.push_back(packet_of(small, frame_of(i)));

    std::size_t sent = 0;
    CHECK(eventually([&] {
        sent += port.tx_burst(0, std::span{packets}.subspan(sent));
        return sent == packets.size();
    }));

    arrivals seen{packets.size()};
    CHECK(eventually([&] {
        seen.take(kernel);
        return seen.count() == packets.size();
    }));
    CHECK(seen.doubled() + seen.damaged() == 0);
    CHECK(small.objects().in_use() == 0);
    CHECK(port.find_fault() == nullptr);
}

TEST_CASE("frames that find the kernel without a buffer are counted as missed", "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    auto port = scratch.make();
    const raw_station kernel{"far"};
    for (std::size_t i = 0; i != 100; ++i)
        REQUIRE(kernel.send(frame_of(i)));

    CHECK(eventually([&] { return port.rx_stats().missed == 36; }));
    CHECK(port.rx_stats().missed == 36);  // and does not count twice
    const auto packets = receive(port, 64);
    CHECK(packets.size() == 64);
    free_bulk(packets);
    CHECK(port.rx_stats().packets == 64);
}

TEST_CASE("a frame that is too long or too short counts as an error and stops nothing",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    auto port = scratch.make();
    auto jumbo = scratch.domain().create_pktmbuf_pool("jumbo", {.count = 16, .cache_size = 0});
    std::array<mbuf*, 3> packets{jumbo.alloc_chain(1'519), jumbo.alloc_chain(13),
                                 jumbo.alloc_chain(60)};

    std::size_t sent = 0;
    while (sent != packets.size())
        sent += port.tx_burst(0, std::span{packets}.subspan(sent));

    CHECK(port.tx_stats().errors == 2);
    CHECK(port.tx_stats().packets == 1);
    CHECK(jumbo.objects().in_use() == 0);
}

TEST_CASE("an interface that vanishes or goes down leaves an AF_XDP port that moves nothing",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_domain scratch;
    auto port = scratch.make();
    const std::string command =
        GENERATE(as<std::string>{}, "ip link set near down", "ip link del near");
    scratch_network::run(command);
    std::array<mbuf*, 4> burst;

    for (int i = 0; i != 3; ++i) {
        auto* packet = scratch.pool().alloc_chain(60);
        REQUIRE(packet != nullptr);
        if (port.tx_burst(0, {&packet, 1}) == 0)
            free(packet);
        CHECK(port.rx_burst(0, burst) == 0);
    }

    CHECK(port.tx_stats().errors == 1);
    CHECK(scratch.domain().destroy_port("wire"));
    CHECK(scratch.pool().objects().in_use() == 0);
}

}  // namespace cohort::test
