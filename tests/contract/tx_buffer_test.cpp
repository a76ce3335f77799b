// A buffer in front of a tx queue: whole bursts go out, and no packet is lost on the way unseen.

#include "cohort/port/tx_buffer.hpp"

#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"

#include <vector>

namespace cohort::test {

TEST_CASE("a tx buffer sends when a burst is full, and the rest when it is flushed or ends",
          "[port][contract][tx_buffer]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    {
        tx_buffer<> buffer{wired.port(), 0, 8};
        for (std::size_t i = 0; i != 7; ++i)
            CHECK(buffer.send(wired.packet(i)) == 0);
        CHECK(wired.port().tx_stats().packets == 0);
        CHECK(buffer.send(wired.packet(7)) == 8);
        CHECK(buffer.waiting() == 0);
        CHECK(buffer.send(wired.packet(8)) == 0);
        CHECK(buffer.flush() == 1);
        CHECK(buffer.flush() == 0);
        CHECK(buffer.send(wired.packet(9)) == 0);
    }
    CHECK(wired.port().tx_stats().packets == 10);
    wired.drain();
    CHECK(wired.in_use() == 0);
}

TEST_CASE(
    "what a driver does not accept from a tx buffer is dropped and counted, or the callback's",
    "[port][contract][tx_buffer]")
{
    wired_port wired{"ring"};  // whose ring has room for 64
    tx_buffer<> dropping{wired.port(), 0, 40};
    for (std::size_t i = 0; i != 80; ++i)
        dropping.send(wired.packet(i));
    CHECK(dropping.unsent().dropped == 16);
    CHECK(wired.in_use() == 0);

    std::vector<mbuf*> kept;
    const auto keep = [&](std::span<mbuf* const> unsent) {
        kept.assign(unsent.begin(), unsent.end());
    };
    tx_buffer keeping{wired.port(), 0, 3, keep};
    for (std::size_t i = 0; i != 3; ++i)
        keeping.send(wired.packet(i));
    REQUIRE(kept.size() == 3);
    for (std::size_t i = 0; i != 3; ++i)
        CHECK(text_of(*kept[i]) == numbered_payload(i));
    free_bulk(kept);
}

TEST_CASE("a tx buffer holds one burst at most, whatever size it was asked for",
          "[port][contract][tx_buffer]")
{
    wired_port wired{"null"};
    for (const std::size_t asked : {std::size_t{0}, std::size_t{1}, std::size_t{1000}}) {
        tx_buffer<> buffer{wired.port(), 0, asked};
        const auto size = asked == 1000 ? tx_buffer<>::capacity : 1;
        for (std::size_t i = 0; i + 1 != size; ++i)
            CHECK(buffer.send(wired.packet(i)) == 0);
        CHECK(buffer.send(wired.packet(size)) == size);
    }
}

}  // namespace cohort::test
