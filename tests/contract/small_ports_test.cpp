// What ports refuse, what becomes of packets without a header, and what the drivers without a
// device do beyond the contract.

#include "cohort/base/error.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"
#include "support/eventually.hpp"

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

TEST_CASE("a port or a queue that cannot be as it is wanted is refused", "[port]")
{
    wired_port wired{"null"};
    auto& domain = wired.domain();
    auto& port = wired.port();
    auto& good = wired.pool().objects().layout();
    auto objects =
        domain.create_mempool("objects", {.count = 64, .element_bytes = 4096, .cache_size = 0});
    auto small =
        domain.create_pktmbuf_pool("small", {.count = 64, .cache_size = 0, .data_room = 128});
    domain.create_ring<mbuf*>("other", 64);
    auto wide = domain.create_port("wide", "null:size=200,queues=2", {.rx_pool = "packets"});
    port.stop();
    wide.stop();
    const auto refused = [](auto call, const char* why) {
        try {
            call();
        } catch (const error& refusal) {
            CHECK(refusal.reason() == errc::invalid_argument);
            CHECK_THAT(refusal.what(), Catch::Contains(why));
            return;
        }
        FAIL("it was accepted: " << why);
    };

    refused([&] { domain.create_port("new", "null", {.rx_pool = "nothing"}); }, "does not exist");
    refused([&] { domain.create_port("new", "null", {.rx_pool = "objects"}); }, "has no packets");
    refused([&] { wide.set_up_rx(0, {.pool = &objects.layout()}); }, "needs a pool of mbufs");
    refused([&] { wide.set_up_rx(1, {.pool = &small.objects().layout()}); }, "needs 200");
    refused([&] { wide.set_up_rx(2, {.pool = &good}); }, "no rx queue 2; the port has 2");
    refused([&] { wide.set_up_tx(2, {}); }, "no tx queue 2; the port has 2");
    const auto limits = port.layout().limits;
    const auto most = limits.max_descriptors;
    refused([&] { port.set_up_rx(0, {.pool = &good, .descriptors = most + 1}); }, "descriptors");
    refused([&] { port.set_up_tx(0, {.descriptors = most + 1}); }, "descriptors");

    port.set_up_rx(0, {});  // receives nothing
    port.start();
    std::array<mbuf*, 4> burst;
    CHECK(port.rx_burst(0, burst) == 0);
}

TEST_CASE("a null port that copies brings its bytes, reads all of what is sent and keeps nothing",
          "[port]")
{
    wired_port wired{"null"};
    auto port =
        wired.domain().create_port("copying", "null:copy=1,size=600", {.rx_pool = "packets"});
    std::array<mbuf*, 4> burst;
    REQUIRE(port.rx_burst(0, burst) == burst.size());
    const auto first = bytes_of(*burst[0]);
    CHECK(first.size() == 600);
    for (auto* packet : burst)
        CHECK(bytes_of(*packet) == first);
    auto* chain = wired.pool().alloc_chain(5000);
    REQUIRE(chain != nullptr);

    CHECK(port.tx_burst(0, burst) == burst.size());
    CHECK(port.tx_burst(0, {&chain, 1}) == 1);

    CHECK(port.tx_stats().bytes == 4 * 600 + 5000);
    CHECK(wired.in_use() == 0);
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

TEST_CASE("packets without bytes, or with less than a header, are sent or counted, and never kept",
          "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto& port = wired.port();
    const auto before = port.tx_stats();

    for (const std::uint16_t length : {std::uint16_t{0}, std::uint16_t{13}}) {
        auto* runt = wired.pool().alloc();
        REQUIRE(runt != nullptr);
        REQUIRE(runt->append(length).size() == length);
        CHECK(port.tx_burst(0, {&runt, 1}) == 1);
    }
    const auto stats = port.tx_stats();
    CHECK(stats.packets + stats.errors == before.packets + before.errors + 2);

    auto* packet = wired.packet(0);
    CHECK(port.tx_burst(0, {&packet, 1}) == 1);
    CHECK(port.tx_stats().packets == stats.packets + 1);
    wired.drain();
    CHECK(eventually([&] { return wired.in_use() == 0; }));
}

}  // namespace cohort::test
