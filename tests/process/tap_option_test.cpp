// What a tap port is asked for and cannot be, what it counts, and how it ends.

#include "process/port_domain.hpp"
#include "support/eventually.hpp"
#include "support/skip.hpp"
#include "support/without_capability.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/mount.h>

namespace cohort::test {
namespace {

bool is_there(const char* interface)
{
    return ::if_nametoindex(interface) != 0;
}

const std::string frame = "\x02....a\x02....b\x88\xb5" + std::string(50, 'x');

}  // namespace

TEST_CASE("what a tap port cannot be is told in one sentence, and leaves nothing", "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    const auto refused = [&](const std::string& options, const std::vector<std::string>& words) {
        INFO(options);
        CHECK(scratch.refusal_of("tap:" + options, {}, words) == errc::invalid_argument);
        CHECK_FALSE(is_there("tap"));
    };
    refused("", {"iface=NAME"});
    refused("iface=a_name_of_sixteen", {"a_name_of_sixteen", "17", "15"});
    for (const auto* name : {"a/b", "a b", "a:b", "tap%d", "..", "t\x01p"})
        refused("iface=" + std::string{name}, {name, "letters"});
    for (const auto* option : {"queues=0", "queues=9", "queues=x", "persist=2", "mtu=67",
                               "mtu=65522", "mtu=-1", "colour=blue", "persist"})
        refused("iface=tap," + std::string{option}, {"tap"});
    for (const auto* mac :
         {"1", "02:00:00:00:00", "02:00:00:00:00:1", "02:00:00:00:00:0g", "02-00-00-00-00-01",
          "01:00:00:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00:01:02"})
        refused("iface=tap,mac=" + std::string{mac}, {mac, "02:00:00:00:00:01"});
    refused("iface=near", {"near", "multi_queue"});  // a cable
    scratch_network::run("ip tuntap add dev single mode tap");
    refused("iface=single", {"single", "multi_queue"});
    scratch.domain().create_pktmbuf_pool(
        "narrow", {.count = 64, .cache_size = 0, .data_room = mbuf_headroom + 64});
    CHECK_THROWS_AS(scratch.domain().create_port("bad", "tap:iface=tap,persist=1,mtu=9000",
                                                 {.rx_pool = "narrow"}),
                    error);
    CHECK(eventually([] { return !is_there("tap"); }));
}

TEST_CASE("an interface that another port or process has is not shared out", "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    auto port = scratch.make("tap:iface=tap,queues=2");

    CHECK(scratch.refusal_of("tap:iface=tap", {}, {"2 of the 3 queues", "tap"}) == errc::in_use);

    const raw_station kernel{"tap"};
    for (std::size_t i = 0; i != 10; ++i)
        REQUIRE(kernel.send(frame));
    std::size_t count = 0;
    CHECK(eventually([&] {
        std::array<mbuf*, 4> burst;
        for (std::uint16_t queue = 0; queue != 2; ++queue)
            for (auto* packet : std::span{burst}.first(port.rx_burst(queue, burst))) {
                free(packet);
                ++count;
            }
        return count == 10;
    }));
}

TEST_CASE("without the right, or without the device, a tap port says what is missing",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    {
        const without_capability poorer{CAP_NET_ADMIN};
        CHECK(scratch.refusal_of("tap:iface=tap", {}, {"CAP_NET_ADMIN", "root"}) ==
              errc::no_permission);
    }
    auto reason = errc{};
    std::thread{[&] {  // in a mount namespace of its own
        if (::unshare(CLONE_FS | CLONE_NEWNS) == 0 &&
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
            ::mount("none", "/dev/net", "tmpfs", 0, nullptr) == 0)
            reason =
                scratch.refusal_of("tap:iface=tap", {}, {"/dev/net/tun", "ENOENT", "module tun"});
    }}
        .join();
    CHECK(reason == errc::not_found);
}

TEST_CASE("address, MTU and name of a tap interface are as asked for", "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    const auto port = scratch.make("tap:iface=fifteen_letters,mac=02:a0:00:0B:00:01,mtu=1280");

    CHECK(port.layout().mtu == 1280);
    constexpr std::array<std::uint8_t, 6> mac{2, 0xa0, 0, 0x0b, 0, 1};
    CHECK(std::equal(mac.begin(), mac.end(), std::begin(port.layout().mac)));
    CHECK_NOTHROW(
        scratch_network::run("ip link show dev fifteen_letters up | grep -q 02:a0:00:0b:00:01 && "
                             "ip link show dev fifteen_letters | grep -q 'mtu 1280'"));
}

TEST_CASE("a tap interface goes with its port, and stays if it is persistent", "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    for (const bool persistent : {false, true}) {
        {
            const auto port =
                scratch.make(persistent ? "tap:iface=tap,persist=1" : "tap:iface=tap");
            CHECK(is_there("tap"));
            CHECK(scratch.domain().destroy_port("wire"));
        }
        CHECK(is_there("tap") == persistent);
    }
    const auto again = scratch.make("tap:iface=tap");
    CHECK(scratch.domain().destroy_port("wire"));
    CHECK(is_there("tap"));
}

TEST_CASE("frames that find no buffer wait or are counted, as are those that find no room",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    const bool drop = GENERATE(false, true);
    auto port = scratch.make("tap:iface=tap", {.rx_pool = "packets", .drop_on_empty_pool = drop});
    scratch_network::run("ip link set tap txqueuelen 16");
    const raw_station kernel{"tap"};
    std::vector<mbuf*> all(buffers);
    REQUIRE(scratch.pool().alloc_bulk(all));
    std::array<mbuf*, 32> burst;
    CHECK(port.rx_burst(0, burst) == 0);
    CHECK(port.rx_stats().no_buffer == 0);  // nothing waits either

    for (std::size_t i = 0; i != 40; ++i)
        REQUIRE(kernel.send(frame));
    CHECK(eventually([&] { return port.rx_stats().missed == 24; }));
    CHECK(port.rx_burst(0, burst) == 0);
    CHECK(port.rx_stats().no_buffer == (drop ? 0 : 1));
    CHECK(port.rx_stats().missed == (drop ? 40 : 24));
    free_bulk(all);

    CHECK(port.rx_burst(0, burst) == (drop ? 0 : 16));
    CHECK(port.rx_stats().packets == (drop ? 0 : 16));
    CHECK(port.rx_stats().missed == (drop ? 40 : 24));
    if (!drop)
        free_bulk(std::span{burst}.first(16));
}

TEST_CASE("what a device has dropped is in the region, though nobody asks the port for it",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    const auto port = scratch.make("tap:iface=tap");
    const auto& missed = port.layout().rx[0].missed;
    scratch_network::run("ip link set tap txqueuelen 16");
    const raw_station kernel{"tap"};

    for (std::size_t i = 0; i != 40; ++i)
        REQUIRE(kernel.send(frame));

    CHECK(eventually([&] { return missed == 24; }));
}

TEST_CASE("a frame that the interface cannot have is counted and dropped, and the next goes on",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    auto port = scratch.make("tap:iface=tap,mtu=600");
    const raw_station kernel{"tap"};

    std::array<mbuf*, 3> packets{};
    for (std::size_t i = 0; const std::size_t length : {619u, 13u, 618u})
        packets[i++] = scratch.pool().alloc_chain(length);
    CHECK(port.tx_burst(0, packets) == 3);
    CHECK(port.tx_stats().errors == 2);
    CHECK(port.tx_stats().packets == 1);
    CHECK(port.tx_stats().bytes == 618);

    scratch_network::run("ip link set tap mtu 9000");
    REQUIRE(kernel.send(frame + std::string(700, 'y')));
    REQUIRE(kernel.send(frame));
    mbuf* got = nullptr;
    CHECK(eventually([&] { return port.rx_burst(0, {&got, 1}) == 1; }));
    CHECK(got->pkt_len == frame.size());
    CHECK(port.rx_stats().errors == 1);
    CHECK(port.rx_stats().packets == 1);
    free(got);
    CHECK(scratch.pool().objects().in_use() == 0);
}

TEST_CASE("an interface that goes down or away under a port is an error that is counted",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    auto port = scratch.make("tap:iface=tap,queues=2");
    std::array<mbuf*, 4> burst;
    const auto send_one = [&] {
        auto* packet = scratch.pool().alloc_chain(100);
        CHECK(port.tx_burst(0, {&packet, 1}) == 1);
    };
    send_one();
    CHECK(port.rx_burst(0, burst) == 0);

    scratch_network::run("ip link set tap down");
    send_one();
    CHECK(port.tx_stats().errors == 1);
    CHECK(port.layout().tx[0].last_errno.load() == EIO);
    scratch_network::run("ip link set tap up");
    send_one();
    CHECK(port.tx_stats().errors == 1);

    scratch_network::run("ip link del tap");
    for (int i = 0; i != 3; ++i)
        CHECK(port.rx_burst(0, burst) == 0);
    CHECK(port.rx_burst(1, burst) == 0);
    send_one();
    CHECK(port.rx_stats(0).errors == 1);
    CHECK(port.tx_stats().errors == 2);
    CHECK(port.layout().rx[0].last_errno.load() != 0);
    CHECK(scratch.pool().objects().in_use() == 0);
    CHECK(scratch.domain().destroy_port("wire"));
    CHECK(scratch.make("tap:iface=tap").is_started());
}

}  // namespace cohort::test
