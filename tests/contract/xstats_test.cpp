// The counters of a port by name and number.

#include "cohort/port/xstats.hpp"

#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"

#include <string_view>

namespace cohort::test {

TEST_CASE("each counter has a name and a number, and they are the same counters",
          "[port][contract]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    free_bulk(wired.receive(20));
    auto* packet = wired.packet(0);
    REQUIRE(wired.port().tx_burst(0, {&packet, 1}) == 1);

    const auto value = [&](std::string_view name) {
        const auto id = find_xstat(wired.port(), name);
        REQUIRE(id);
        return xstat_by_id(wired.port(), *id).value();
    };
    CHECK(value("rx_good_packets") == 20);
    CHECK(value("rx_good_bytes") == 20 * packet_bytes);
    CHECK(value("rx_q0_packets") == 20);
    CHECK(value("tx_good_packets") == 1);
    CHECK(value("tx_q0_bytes") == packet_bytes);
    CHECK(value("rx_errors") == 0);
    CHECK_FALSE(find_xstat(wired.port(), "rx_q8_packets"));
    CHECK_FALSE(xstat_by_id(wired.port(), xstats(wired.port()).size()));
    wired.port().reset_stats();
    for (const auto& each : xstats(wired.port()))
        CHECK(each.value == 0);
}

}  // namespace cohort::test
