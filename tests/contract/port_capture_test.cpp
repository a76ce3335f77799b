// Reading along what passes a port of any driver, while its owner goes on.

#include "cohort/port/port_capture.hpp"

#include "cohort/base/error.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"
#include "support/eventually.hpp"

#include <string>
#include <thread>
#include <vector>

namespace cohort::test {
namespace {

std::string text_of(const captured_packet& packet)
{
    return {reinterpret_cast<const char*>(packet.bytes.data()), packet.bytes.size()};
}

std::vector<std::string> captured_by(port_capture& capture, port_direction direction)
{
    std::vector<std::string> all;
    while (const auto packet = capture.next()) {
        CHECK(packet->direction == direction);
        CHECK(packet->queue == 0);
        CHECK(packet->length == packet_bytes);
        all.push_back(text_of(*packet));
    }
    return all;
}

}  // namespace

TEST_CASE("a capture has each packet that was received, in order, and leaves it to the receiver",
          "[port][contract][capture]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    const auto before = wired.in_use();
    auto capture = wired.domain().capture_port("port");

    const auto packets = wired.receive(20);

    REQUIRE(packets.size() == 20);
    std::vector<std::string> received;
    for (const auto* packet : packets)
        received.push_back(text_of(*packet));
    CHECK(captured_by(capture, port_direction::rx) == received);
    CHECK(capture.dropped() == 0);
    CHECK(wired.in_use() == before + 20);
    free_bulk(packets);
}

TEST_CASE("a capture has the packets that the driver accepted, and no other",
          "[port][contract][capture]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto capture = wired.domain().capture_port("port");
    std::vector<mbuf*> packets;
    std::vector<std::string> texts;
    for (std::size_t i = 0; i != 80; ++i) {
        packets.push_back(wired.packet(i));
        texts.push_back(numbered_payload(i));
    }

    std::size_t sent = 0;
    for (std::size_t accepted = 1; accepted != 0 && sent != packets.size(); sent += accepted)
        accepted = wired.port().tx_burst(0, std::span{packets}.subspan(sent));

    texts.resize(sent);
    CHECK(captured_by(capture, port_direction::tx) == texts);
    free_bulk(std::span{packets}.subspan(sent));
}

TEST_CASE("what a capture has no room for is counted, and the port does not wait for it",
          "[port][contract][capture]")
{
    wired_port wired{"null"};
    auto capture = wired.domain().capture_port("port");
    const auto bytes = std::size_t{160};  // a record of a packet of 100
    const auto fit = capture_stream_bytes / bytes;

    std::size_t received = 0;
    while (received < fit + 1000) {
        const auto packets = wired.receive(50);
        received += packets.size();
        free_bulk(packets);
    }

    CHECK(capture.dropped() == received - fit);
    CHECK(captured_by(capture, port_direction::rx).size() == fit);
    free_bulk(wired.receive(8));
    CHECK(captured_by(capture, port_direction::rx).size() == 8);
    CHECK(capture.dropped() == received - fit);
}

TEST_CASE("a capture keeps as many bytes of a packet as it was asked for, and its length",
          "[port][contract][capture]")
{
    wired_port wired{"pcap"};
    auto capture = wired.domain().capture_port("port", 60);

    const auto packets = wired.receive(3);

    REQUIRE(packets.size() == 3);
    for (std::size_t i = 0; i != 3; ++i) {
        const auto packet = capture.next();
        REQUIRE(packet);
        CHECK(text_of(*packet) == numbered_payload(i).substr(0, 60));
        CHECK(packet->length == packet_bytes);
    }
    free_bulk(packets);
}

TEST_CASE("one lane captures a port at a time, and the next has what passes from then on",
          "[port][contract][capture]")
{
    wired_port wired{"pcap"};
    {
        auto first = wired.domain().capture_port("port");
        std::thread{[&] {
            CHECK_THROWS_WITH(wired.domain().capture_port("port"),
                              Catch::Contains("captured by lane"));
        }}.join();
        free_bulk(wired.receive(5));
    }
    free_bulk(wired.receive(5));

    auto second = wired.domain().capture_port("port");
    free_bulk(wired.receive(5));

    const auto texts = captured_by(second, port_direction::rx);
    REQUIRE(texts.size() == 5);
    CHECK(texts.front() == numbered_payload(10));
}

TEST_CASE("who captures and goes on does not keep a port from being destroyed, and its streams go",
          "[port][contract][capture]")
{
    wired_port wired{"null"};
    auto capture = wired.domain().capture_port("port");
    free_bulk(wired.receive(5));
    REQUIRE(wired.port().release_rx(0));

    bool gone = false;
    std::thread closer{[&] { gone = wired.domain().destroy_port("port"); }};
    const bool ended = eventually([&] {
        while (capture.next())
            ;
        return !capture.is_on();
    });
    closer.join();

    CHECK(ended);
    CHECK(gone);
    CHECK_FALSE(capture.next());
    for_each_live(wired.domain().region().memory, zone_kind::capture,
                  [&](const auto& zone) { FAIL_CHECK("\"" << zone.name.view() << "\" is there"); });
}

TEST_CASE("a port whose capturer does not go on stays, stopped, and says who it is",
          "[port][contract][capture][stop]")
{
    wired_port wired{"null"};
    const auto capture = wired.domain().capture_port("port");

    CHECK_THROWS_WITH(wired.domain().destroy_port("port"), Catch::Contains("by the thread that"));
    CHECK(wired.port().is_started());
    std::thread{[&] {
        CHECK_THROWS_WITH(wired.domain().destroy_port("port"), Catch::Contains("captures it"));
    }}.join();

    CHECK_FALSE(wired.port().is_started());
    CHECK(capture.is_on());
}

TEST_CASE("a stream that was scribbled over is refused in a sentence, and the audit finds it",
          "[port][contract][capture]")
{
    wired_port wired{"null"};
    auto capture = wired.domain().capture_port("port");
    free_bulk(wired.receive(5));
    REQUIRE(audit(wired.domain().mapping()).clean());
    for_each_live(wired.domain().region().memory, zone_kind::capture, [](const auto& zone) {
        auto& streams = *static_cast<capture_layout*>(zone.data());
        reinterpret_cast<capture_record*>(streams.bytes_of(0))->bytes = 7;
    });

    CHECK_THROWS_WITH(capture.next(), Catch::Contains("a record of 7 bytes"));
    const auto report = audit(wired.domain().mapping());
    REQUIRE(report.faults.size() == 1);
    CHECK_THAT(report.faults.front(), Catch::Contains("the capture of port \"port\""));
}

TEST_CASE("the audit finds a queue and a capture that a lane out of use has",
          "[port][contract][audit]")
{
    wired_port wired{"null"};
    constexpr lane_id nobody = 77;
    auto& port = wired.port().layout();
    for (auto* lock : {&port.rx[0].owner, &port.tx[0].owner, &port.capturer}) {
        REQUIRE(lock->lock(nobody, deadline{}, [](lane_id) { return false; }) ==
                lock_result::acquired);
        const auto report = audit(wired.domain().mapping());
        REQUIRE(report.faults.size() == 1);
        CHECK_THAT(report.faults.front(), Catch::Contains("claimed by lane 77"));
        lock->unlock();
    }
    CHECK(audit(wired.domain().mapping()).clean());
}

TEST_CASE("a capture of a port that does not exist is refused", "[port][contract][capture]")
{
    wired_port wired{"null"};
    CHECK_THROWS_WITH(wired.domain().capture_port("none"), Catch::Contains("no port \"none\""));
}

}  // namespace cohort::test
