// What every port driver does, run for each of them: who has a packet, what the counters say, whose
// a queue is, and how a port stops and goes.

#include "cohort/port/drivers.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/lost_thread.hpp"
#include "support/refusal.hpp"
#include "support/skip.hpp"

#include <set>
#include <string>
#include <thread>

namespace cohort::test {
namespace {

using namespace std::chrono_literals;

/// In a lane of its own, which is left at the end.
template <typename Work>
void in_another_lane(Work work)
{
    std::thread{work}.join();
}

}  // namespace

TEST_CASE("the drivers of interfaces are held to the contract", "[port][contract]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    CHECK(wired_port{"af_packet"}.port().is_started());
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    CHECK(wired_port{"tap"}.port().is_started());
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    CHECK(wired_port{"af_xdp"}.port().is_started());
}

TEST_CASE("what a port has prepared it takes, and what its interface would refuse it tells before",
          "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto& port = wired.port();
    auto* sound = wired.packet(1);
    CHECK(port.prepare_tx({&sound, 1}).count == 1);
    REQUIRE(port.tx_burst(0, {&sound, 1}) == 1);
    CHECK(port.tx_stats(0).errors == 0);

    const auto limits = frame_limits_of(port.layout());
    CHECK(limits.has_value() == wired.is_interface());
    if (!limits)
        return;
    auto* most = wired.packet(std::string(limits->whole, 'x'));
    CHECK(port.prepare_tx({&most, 1}).count == 1);
    REQUIRE(port.tx_burst(0, {&most, 1}) == 1);
    CHECK(port.tx_stats(0).errors == 0);
    auto* giant = wired.packet(std::string(limits->whole + 1, 'x'));
    const auto refused = port.prepare_tx({&giant, 1});
    CHECK(refused.count == 0);
    CHECK(std::string{refused.why} == "it is longer than the port's interface takes");
    REQUIRE(port.tx_burst(0, {&giant, 1}) == 1);
    CHECK(port.tx_stats(0).errors == 1);
}

TEST_CASE("what is received is the caller's, sound, and carries the port", "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    const auto before = wired.in_use();

    const auto packets = wired.receive(10);

    REQUIRE(packets.size() == 10);
    CHECK(wired.in_use() == before + 10);
    for (const auto* packet : packets) {
        CHECK(find_fault(*packet, true) == nullptr);
        CHECK(packet->port == wired.port().layout().index);
        CHECK(packet->pkt_len == packet_bytes);
    }
    free_bulk(packets);
    CHECK(wired.in_use() == before);
}

TEST_CASE("each packet is received once and in order", "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    const auto packets = wired.receive(supplied);

    REQUIRE(packets.size() == supplied);
    if (!wired.is_finite()) {  // it makes them up, all alike
        free_bulk(packets);
        return;
    }
    for (std::size_t i = 0; i != supplied; ++i)
        CHECK(text_of(*packets[i]) == numbered_payload(i));
    std::array<mbuf*, 4> more;
    CHECK(wired.port().rx_burst(0, more) == 0);
    free_bulk(packets);
}

TEST_CASE("what is accepted is the driver's, what is not stays with the caller", "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    std::vector<mbuf*> packets;
    for (std::size_t i = 0; i != 80; ++i)
        packets.push_back(wired.packet(i));

    std::size_t sent = 0;
    while (sent != packets.size()) {
        const auto accepted = wired.port().tx_burst(0, std::span{packets}.subspan(sent));
        if (accepted == 0)
            break;
        sent += accepted;
    }

    CHECK((sent == packets.size()) == wired.takes_everything());
    CHECK(wired.in_use() == packets.size() - sent);
    free_bulk(std::span{packets}.subspan(sent));
    wired.drain();
    CHECK(wired.in_use() == 0);
    CHECK(wired.port().tx_stats().packets == sent);
}

TEST_CASE("counters are exact, of the queue and of the port, and start anew at a reset",
          "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto& port = wired.port();
    const auto packets = wired.receive(7);
    REQUIRE(packets.size() == 7);
    REQUIRE(port.tx_burst(0, std::span{packets}.first(3)) == 3);

    CHECK(port.rx_stats(0).packets == 7);
    CHECK(port.rx_stats(0).bytes == 7 * packet_bytes);
    CHECK(port.rx_stats().packets == 7);
    CHECK(port.rx_stats().missed == 0);
    CHECK(port.rx_stats().errors == 0);
    CHECK(port.tx_stats(0).packets == 3);
    CHECK(port.tx_stats().bytes == 3 * packet_bytes);

    port.reset_stats();
    CHECK(port.rx_stats().packets == 0);
    CHECK(port.rx_stats().bytes == 0);
    CHECK(port.tx_stats().packets == 0);
    REQUIRE(port.tx_burst(0, std::span{packets}.last(4)) == 4);
    CHECK(port.tx_stats().packets == 4);
    CHECK(port.tx_stats().bytes == 4 * packet_bytes);
}

TEST_CASE("a queue is one lane's until that lane hands it over or leaves", "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto& port = wired.port();
    free_bulk(wired.receive(2));
    auto* mine = wired.packet(1);
    REQUIRE(port.tx_burst(0, {&mine, 1}) == 1);

    std::array<mbuf*, 2> burst;
    auto* other = wired.packet(2);
    in_another_lane([&] {
        CHECK(port.rx_burst(0, burst) == 0);
        CHECK(port.tx_burst(0, {&other, 1}) == 0);
        CHECK_FALSE(port.release_rx(0));
    });

    CHECK(port.release_rx(0));
    CHECK(port.release_tx(0));
    CHECK_FALSE(port.release_rx(0));
    in_another_lane([&] {
        CHECK(receive(port, 2).size() == 2);
        CHECK(port.tx_burst(0, {&other, 1}) == 1);
    });
    CHECK(wired.receive(2).size() == 2);
}

TEST_CASE("two handles of one lane do not disturb each other", "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto again = wired.domain().find_port("port");
    REQUIRE(again);
    std::vector<std::string> seen;

    for (std::size_t i = 0; i != 10; ++i)
        for (auto* packet : receive(i % 2 == 0 ? *again : wired.port(), 3)) {
            seen.push_back(text_of(*packet));
            free(packet);
        }

    REQUIRE(seen.size() == 30);
    if (wired.is_finite())
        CHECK(seen[29] == numbered_payload(29));
}

TEST_CASE("a queue of a dead lane goes on where it was", "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    run_and_lose([&] { free_bulk(receive(wired.port(), 5)); });

    const auto packets = wired.receive(5);

    REQUIRE(packets.size() == 5);
    if (wired.is_finite())
        CHECK(text_of(*packets[0]) == numbered_payload(5));
    CHECK(wired.port().rx_stats().packets == 10);
    free_bulk(packets);
}

TEST_CASE("a stopped port moves nothing, and started again it goes on where it was",
          "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto& port = wired.port();
    free_bulk(wired.receive(5));
    std::array<mbuf*, 4> burst;
    auto* packet = wired.packet(0);

    port.stop();
    port.stop();
    CHECK_FALSE(port.is_started());
    CHECK(port.rx_burst(0, burst) == 0);
    CHECK(port.tx_burst(0, {&packet, 1}) == 0);

    port.start();
    CHECK(port.is_started());
    CHECK(port.tx_burst(0, {&packet, 1}) == 1);
    const auto more = wired.receive(5);
    REQUIRE(more.size() == 5);
    if (wired.is_finite())
        CHECK(text_of(*more[0]) == numbered_payload(5));
    free_bulk(more);
}

TEST_CASE("a queue is set up while the port is stopped, with what the driver can do",
          "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto& port = wired.port();
    auto& pool = wired.pool().objects().layout();
    const auto limits = port.layout().limits;

    CHECK(refusal_of([&] { port.set_up_rx(0, {.pool = &pool}); }) == errc::in_use);
    port.stop();
    CHECK(refusal_of([&] { port.set_up_rx(7, {.pool = &pool}); }) == errc::invalid_argument);
    CHECK(refusal_of([&] {
              port.set_up_rx(0, {.pool = &pool, .descriptors = limits.max_descriptors + 1});
          }) == errc::invalid_argument);
    CHECK(refusal_of([&] { port.set_up_tx(0, {.descriptors = limits.max_descriptors + 1}); }) ==
          errc::invalid_argument);
    auto other = wired.domain().create_pktmbuf_pool("other", {.count = 64, .cache_size = 0});
    const auto take_other = [&] { port.set_up_rx(0, {.pool = &other.objects().layout()}); };
    if (wired.shares_pool()) {
        CHECK(refusal_of(take_other) == errc::invalid_argument);
        port.set_up_rx(0, {.pool = &pool});
    } else {
        take_other();
    }
    port.start();

    const auto packets = wired.receive(2);
    REQUIRE(packets.size() == 2);
    if (driver != "ring" && !wired.shares_pool())  // with a ring they come with the packets
        CHECK(other.objects().in_use() == 2);
    free_bulk(packets);
}

TEST_CASE("a port that is destroyed moves nothing through any handle, and its name is free",
          "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto other = wired.domain().find_port("port").value();
    auto packets = wired.receive(4);
    const auto spec = std::string{wired.port().layout().driver.view()} + ":" +
                      std::string{wired.port().layout().options.view()};

    CHECK(wired.domain().destroy_port("port"));

    CHECK_FALSE(wired.domain().destroy_port("port"));
    CHECK_FALSE(wired.domain().find_port("port"));
    std::array<mbuf*, 4> burst;
    for (auto* handle : {&wired.port(), &other}) {
        CHECK(handle->rx_burst(0, burst) == 0);
        CHECK(handle->tx_burst(0, packets) == 0);
        CHECK_FALSE(handle->is_started());
    }
    free_bulk(packets);
    CHECK(wired.in_use() == 0);
    CHECK((!wired.shares_pool() || wired.pool().objects().in_use() == 0));
    auto next = wired.domain().create_port("port", spec, {.rx_pool = "packets"});
    CHECK(wired.port().rx_burst(0, burst) == 0);
    wired.supply();
    const auto fresh = receive(next, 1);
    CHECK(fresh.size() == 1);
    free_bulk(fresh);
}

TEST_CASE("a port is not destroyed under a lane that is in it", "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    free_bulk(wired.receive(1));

    in_another_lane(
        [&] { CHECK(refusal_of([&] { wired.domain().destroy_port("port"); }) == errc::in_use); });

    CHECK_FALSE(wired.port().is_started());
    wired.port().start();
    const auto packets = wired.receive(1);
    CHECK(packets.size() == 1);
    free_bulk(packets);
}

TEST_CASE("a killed process gives its queues and buffers to the others", "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto user = child_process::spawn("port_user", {"wired"});
    user.await("holding", patience);  // 12 received, 4 of them sent
    std::array<mbuf*, 4> burst;
    CHECK(wired.port().rx_burst(0, burst) == 0);

    user.kill();
    REQUIRE(user.wait(patience));

    const auto rest = wired.receive(supplied - 12);
    REQUIRE(rest.size() == supplied - 12);
    if (wired.is_finite())
        CHECK(text_of(*rest[0]) == numbered_payload(12));
    CHECK(wired.port().rx_stats().packets == supplied);
    CHECK(eventually([&] { return wired.in_use() == rest.size(); }));
    auto* packet = rest[0];
    CHECK(eventually([&] { return wired.port().tx_burst(0, {&packet, 1}) == 1; }));
    CHECK(wired.port().tx_stats().packets == 5);
    free_bulk(std::span{rest}.subspan(1));
}

TEST_CASE("a queue or option that is not there is refused, not fatal", "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    std::array<mbuf*, 1> burst{wired.packet(0)};

    CHECK(wired.port().rx_burst(9, burst) == 0);
    CHECK(wired.port().tx_burst(9, burst) == 0);
    CHECK_FALSE(wired.port().release_rx(9));
    CHECK(wired.port().rx_stats(9).packets == 0);
    CHECK(refusal_of([&] { wired.domain().create_port("other", driver + ":colour=blue"); }) ==
          errc::invalid_argument);
    CHECK_FALSE(wired.domain().find_port("other"));
    free(burst[0]);
}

}  // namespace cohort::test
