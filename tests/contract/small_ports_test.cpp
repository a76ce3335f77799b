// What the drivers without a device do beyond the contract.

#include "cohort/base/error.hpp"
#include "contract/wired_port.hpp"

namespace cohort::test {

TEST_CASE("a pool whose buffers are too small is refused with both numbers", "[port]")
{
    wired_port wired{"null"};
    wired.domain().create_pktmbuf_pool("small", {.count = 64, .cache_size = 0, .data_room = 256});

    try {
        wired.domain().create_port("large", "null:size=200", {.rx_pool = "small"});
        FAIL("it was accepted");
    } catch (const error& refused) {
        CHECK(refused.reason() == errc::invalid_argument);
        CHECK_THAT(refused.what(), Catch::Contains("128 bytes") && Catch::Contains("needs 200"));
    }
}

TEST_CASE("a driver without options has its defaults, or says what it needs", "[port]")
{
    wired_port wired{"null"};
    CHECK(wired.domain().create_port("plain", "null").layout().rx_queues == 1);

    try {
        wired.domain().create_port("nothing", "ring");
        FAIL("it was accepted");
    } catch (const error& refused) {
        CHECK_THAT(refused.what(), Catch::Contains("rx=RING"));
    }
}

TEST_CASE("two ports over crossed rings are a cable", "[port]")
{
    wired_port wired{"ring"};
    auto& domain = wired.domain();
    auto a = domain.create_port("a", "ring:rx=in,tx=out");
    auto b = domain.create_port("b", "ring:rx=out,tx=in");
    wired.drain();
    auto* packet = wired.packet(5);

    REQUIRE(a.tx_burst(0, {&packet, 1}) == 1);
    mbuf* got = nullptr;
    REQUIRE(b.rx_burst(0, {&got, 1}) == 1);

    CHECK(got == packet);
    REQUIRE(b.tx_burst(0, {&got, 1}) == 1);
    REQUIRE(a.rx_burst(0, {&got, 1}) == 1);
    CHECK(text_of(*got) == numbered_payload(5));
    free(got);
}

TEST_CASE("a dry pool is told, and nothing else happens", "[port]")
{
    wired_port wired{"null"};
    wired.domain().create_pktmbuf_pool("dry", {.count = 4, .cache_size = 0});
    auto port = wired.domain().create_port("thirsty", "null:queues=2", {.rx_pool = "dry"});
    std::array<mbuf*, 8> burst;

    CHECK(port.rx_burst(1, burst) == 0);
    CHECK(port.rx_stats(1).no_buffer == 1);
    CHECK(port.rx_stats().packets == 0);
    CHECK(port.rx_burst(1, std::span{burst}.first(4)) == 4);
    free_bulk(std::span{burst}.first(4));
}

}  // namespace cohort::test
