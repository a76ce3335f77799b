// Queues of a port that start and stop by themselves.

#include "cohort/base/clock.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"
#include "support/eventually.hpp"
#include "support/refusal.hpp"

#include <atomic>
#include <thread>

namespace cohort::test {
namespace {

/// A null port of two queues in each direction, which receives and sends whatever it is asked to.
struct two_queues {
    wired_port wired{"null"};
    cohort::port port = wired.domain().create_port("two", "null:queues=2", {.rx_pool = "packets"});

    [[nodiscard]] bool receives(std::uint16_t queue) { return receive_now(port, queue) != 0; }
    [[nodiscard]] bool sends(std::uint16_t queue)
    {
        auto* packet = wired.packet(1);
        if (port.tx_burst(queue, {&packet, 1}) == 1)
            return true;
        free(packet);
        return false;
    }
};

}  // namespace

TEST_CASE("a queue set up as deferred is silent after each start, until it is started itself",
          "[port][queue]")
{
    two_queues ports;
    auto& port = ports.port;
    port.stop();
    port.set_up_rx(1, {.pool = &ports.wired.pool().objects().layout(), .deferred = true});
    port.set_up_tx(0, {.deferred = true});

    for (int round = 0; round != 2; ++round) {
        port.start();
        CHECK(ports.receives(0));
        CHECK_FALSE(ports.receives(1));
        CHECK_FALSE(ports.sends(0));
        CHECK(ports.sends(1));
        port.start_rx(1);
        port.start_tx(0);
        CHECK(ports.receives(1));
        CHECK(ports.sends(0));
        port.stop();
    }
}

TEST_CASE("a stopped queue is nobody's, and the others go on", "[port][queue]")
{
    two_queues ports;
    auto& port = ports.port;
    REQUIRE((ports.receives(0) && ports.receives(1) && ports.sends(0) && ports.sends(1)));

    std::thread{[&] {
        port.stop_rx(1);
        port.stop_rx(1);
        port.stop_tx(0);
    }}.join();

    CHECK_FALSE(ports.receives(1));
    CHECK_FALSE(ports.sends(0));
    CHECK(ports.receives(0));
    CHECK(ports.sends(1));
    CHECK(port.layout().rx[1].owner.holder() == 0);
    CHECK(port.layout().tx[0].owner.holder() == 0);
    CHECK(port.is_started());

    port.stop();
    port.start();
    CHECK(ports.receives(1));
    CHECK(ports.sends(0));
}

TEST_CASE("owners of the other queues keep them, though others wait for them", "[port][queue]")
{
    two_queues ports;
    auto& port = ports.port;
    REQUIRE((ports.receives(0) && ports.sends(0)));
    const auto rx_word = port.layout().rx[0].owner.word();
    const auto tx_word = port.layout().tx[0].owner.word();
    std::atomic<bool> stands_by{false};
    std::atomic<bool> end{false};
    std::thread stand_by{[&] {
        auto other = ports.wired.domain().find_port("two").value();
        for (; !end; stands_by = true)
            receive_now(other);
    }};
    REQUIRE(eventually([&] { return stands_by.load(); }));

    for (int round = 0; round != 1'000; ++round) {
        port.stop_rx(1);
        CHECK(ports.receives(0));
        port.start_rx(1);
        CHECK(ports.sends(0));
    }
    end = true;
    stand_by.join();

    CHECK(port.layout().rx[0].owner.word() == rx_word);
    CHECK(port.layout().tx[0].owner.word() == tx_word);
}

TEST_CASE("what arrives at a stopped queue stays with the device", "[port][contract][queue]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    auto& port = wired.port();

    port.stop_rx(0);
    wired.supply_one();
    std::this_thread::sleep_for(1ms);  // on a cable it takes a moment
    CHECK(receive_now(port) == 0);
    port.start_rx(0);

    const auto packets = wired.receive(1);
    REQUIRE(packets.size() == 1);
    CHECK(text_of(*packets[0]) == numbered_payload(supplied));
    free_bulk(packets);
}

TEST_CASE("who stops a queue of its own lets go of it, and another may start and have it",
          "[port][queue]")
{
    two_queues ports;
    auto& port = ports.port;
    REQUIRE((ports.receives(1) && ports.sends(1)));
    port.stop_rx(1);
    port.stop_tx(1);
    CHECK(port.layout().rx[1].owner.holder() == 0);
    CHECK(port.layout().tx[1].owner.holder() == 0);

    bool has_it = false;
    std::thread{[&] {
        auto other = ports.wired.domain().find_port("two").value();
        other.start_rx(1);
        has_it = receive_now(other, 1) != 0;
    }}.join();

    CHECK(has_it);
}

TEST_CASE("a queue is neither started nor stopped while its port is not", "[port][queue]")
{
    two_queues ports;
    auto& port = ports.port;
    CHECK(refusal_of([&] { port.stop_rx(2); }) == errc::invalid_argument);
    CHECK(refusal_of([&] { port.start_tx(2); }) == errc::invalid_argument);

    port.stop();
    CHECK(refusal_of([&] { port.start_rx(0); }) == errc::invalid_argument);
    CHECK(refusal_of([&] { port.stop_tx(0); }) == errc::invalid_argument);

    REQUIRE(ports.wired.domain().destroy_port("two"));
    CHECK(refusal_of([&] { port.stop_rx(0); }) == errc::invalid_argument);
}

}  // namespace cohort::test
