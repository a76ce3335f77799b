// What a port tells of its device, and what it has the device receive.

#include "cohort/port/port_link.hpp"

#include "cohort/base/error.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"
#include "support/skip.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>

namespace cohort::test {
namespace {

/// The interface that a port of the driver is at.
std::string interface_of(const std::string& driver)
{
    return driver == "tap" ? "tap" : "near";
}

/// A number that ip prints behind `word` for the interface `near`.
int kernel_says(const std::string& word)
{
    auto* const output = ::popen("ip -d -o link show near", "r");
    std::string text(4096, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), output));
    ::pclose(output);
    const auto at = text.find(word + ' ');
    return at == std::string::npos ? -1 : std::stoi(text.substr(at + word.size()));
}

std::string any_driver_that_chooses()
{
    static const auto all = [] {
        auto names = drivers_here();
        std::erase_if(names,
                      [](const auto& name) { return name != "af_packet" && name != "af_xdp"; });
        return names;
    }();
    return GENERATE(from_range(all));
}

}  // namespace

TEST_CASE("a port without a device is up while it is started", "[port][contract][link]")
{
    const std::string driver = GENERATE("null", "ring", "pcap");
    INFO(driver);
    wired_port wired{driver};
    CHECK(wired.port().link().up);
    CHECK(wired.port().link().mtu == 0);

    wired.port().stop();
    CHECK_FALSE(wired.port().link().up);
}

TEST_CASE("a port at an interface tells what the kernel says of it at the moment",
          "[port][contract][link]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const auto driver = any_interface_driver();
    INFO(driver);
    wired_port wired{driver};
    const auto& layout = wired.port().layout();
    const auto first = wired.port().link();
    CHECK(first.up);
    CHECK(first.mtu == 1500);
    CHECK(std::equal(first.mac.begin(), first.mac.end(), std::begin(layout.mac)));
    CHECK(first.speed > 0);

    scratch_network::run("ip link set " + interface_of(driver) + " mtu 1280");
    CHECK(wired.port().link().mtu == 1280);
    scratch_network::run("ip link set " + interface_of(driver) + " down");
    CHECK_FALSE(wired.port().link().up);
    scratch_network::run("ip link set " + interface_of(driver) + " up");
    CHECK(eventually([&] { return wired.port().link().up; }));
    scratch_network::run("ip link del " + interface_of(driver));
    CHECK_FALSE(wired.port().link().up);
    CHECK(wired.port().link().mtu == 0);
}

TEST_CASE("a member in another network namespace is told of the port's interface, not of its own",
          "[port][contract][link]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const auto driver = any_interface_driver();
    INFO(driver);
    wired_port wired{driver};
    scratch_network::run("ip link set " + interface_of(driver) + " mtu 1300");

    const scratch_network elsewhere;
    auto other = wired.domain().find_port("port").value();
    CHECK(other.link().mtu == 1300);
    CHECK(other.link().mac == wired.port().link().mac);
}

TEST_CASE("promiscuous and all-multicast begin, end, and go with the port",
          "[port][contract][link]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const auto driver = any_driver_that_chooses();
    INFO(driver);
    wired_port wired{driver};
    auto other = wired.domain().find_port("port").value();
    const auto before = kernel_says("promiscuity");

    for (int twice = 0; twice != 2; ++twice) {
        wired.port().set_promiscuous(true);
        other.set_all_multicast(true);
    }
    CHECK(kernel_says("promiscuity") == before + 1);
    CHECK(kernel_says("allmulti") == 1);
    CHECK(other.link().promiscuous);
    CHECK(wired.port().link().all_multicast);

    for (int twice = 0; twice != 2; ++twice)
        other.set_promiscuous(false);
    CHECK(kernel_says("promiscuity") == before);
    CHECK_FALSE(wired.port().link().promiscuous);
    CHECK(wired.port().link().all_multicast);

    wired.port().set_promiscuous(true);
    REQUIRE(wired.domain().destroy_port("port"));
    for (auto* handle : {&wired.port(), &other})
        CHECK(handle->rx_burst(0, {}) == 0);  // lets go of the sockets
    CHECK(eventually(
        [&] { return kernel_says("promiscuity") == 0 && kernel_says("allmulti") == 0; }));
    CHECK_THROWS_AS(other.set_promiscuous(true), error);
    CHECK_FALSE(other.link().up);
}

TEST_CASE("a port that cannot choose what it receives says so", "[port][contract][link]")
{
    const std::string driver = GENERATE("null", "ring", "pcap");
    INFO(driver);
    wired_port wired{driver};

    try {
        wired.port().set_promiscuous(true);
        FAIL("it was accepted");
    } catch (const error& refused) {
        CHECK(refused.reason() == errc::invalid_argument);
        CHECK_THAT(refused.what(), Catch::Contains("the " + driver + " port has no device"));
    }
    CHECK_FALSE(wired.port().link().promiscuous);
}

}  // namespace cohort::test
