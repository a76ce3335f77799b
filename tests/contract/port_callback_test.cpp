// Functions of a process between a port and who bursts on it.

#include "cohort/port/port_callbacks.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"
#include "support/refusal.hpp"

#include <string>
#include <vector>

namespace cohort::test {

TEST_CASE("a burst gives what its rx callbacks leave, in the order they were added",
          "[port][contract][callback]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    std::string calls;
    std::size_t seen = 0;
    const auto drop_second = [&](std::span<mbuf*> packets) {
        calls += 'a';
        seen += packets.size();
        if (packets.size() < 2)
            return packets.size();
        free(packets[1]);
        std::move(packets.begin() + 2, packets.end(), packets.begin() + 1);
        return packets.size() - 1;
    };
    const auto first = wired.port().add_rx_callback(0, drop_second);
    const auto second = wired.port().add_rx_callback(0, [&](std::span<mbuf*> packets) {
        calls += 'b';
        return packets.size();
    });

    std::array<mbuf*, 4> burst{};
    std::size_t got = 0;
    REQUIRE(eventually([&] {
        calls.clear();
        seen = 0;
        got = wired.port().rx_burst(0, burst);
        if (seen > 1)
            return true;
        free_bulk(std::span{burst}.first(got));
        return false;
    }));
    CHECK(calls == "ab");
    CHECK(got == seen - 1);
    free_bulk(std::span{burst}.first(got));

    CHECK(wired.port().remove_callback(first));
    CHECK_FALSE(wired.port().remove_callback(first));
    calls.clear();
    free_bulk(wired.receive(1));
    CHECK(calls.find('a') == std::string::npos);
    CHECK(wired.port().remove_callback(second));
    calls.clear();
    free_bulk(wired.receive(1));
    CHECK(calls.empty());
    CHECK(wired.in_use() == 0);
}

TEST_CASE("a tx callback writes to what is sent, and sees again what the port did not accept",
          "[port][contract][callback]")
{
    wired_port wired{"ring"};  // whose ring has room for 64
    std::vector<mbuf*> shown;
    wired.port().add_tx_callback(0, [&](std::span<mbuf* const> packets) {
        shown.insert(shown.end(), packets.begin(), packets.end());
        for (auto* packet : packets)
            *packet->data<char>() = '!';
    });
    std::vector<mbuf*> mine;
    for (std::size_t i = 0; i != 70; ++i)
        mine.push_back(wired.packet(i));

    const auto sent = wired.port().tx_burst(0, mine);

    CHECK(sent < mine.size());
    CHECK(shown == mine);
    const auto rest = std::span{mine}.subspan(sent);
    shown.clear();
    CHECK(wired.port().tx_burst(0, rest) == 0);
    CHECK(shown.size() == rest.size());
    for (auto* packet : mine)
        CHECK(text_of(*packet).front() == '!');
    free_bulk(rest);
}

TEST_CASE("callbacks are those of one handle", "[port][contract][callback]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    auto other = wired.domain().find_port("port").value();
    bool called = false;
    other.add_tx_callback(0, [&](std::span<mbuf* const>) { called = true; });
    auto* packet = wired.packet(0);
    CHECK(wired.port().tx_burst(0, {&packet, 1}) == 1);
    CHECK_FALSE(called);
    CHECK(refusal_of([&] {
              other.add_rx_callback(99, [](std::span<mbuf*> p) { return p.size(); });
          }) == errc::invalid_argument);
    wired.drain();
}

}  // namespace cohort::test
