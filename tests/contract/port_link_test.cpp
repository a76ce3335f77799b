// What a port tells of its device, and what it has the device receive.

#include "cohort/port/port_link.hpp"

#include "cohort/base/error.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"
#include "support/kernel_says.hpp"
#include "support/skip.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <string>
#include <utility>

namespace cohort::test {
namespace {

/// The interface that a port of the driver is at.
std::string interface_of(const std::string& driver)
{
    return driver == "tap" ? "tap" : "near";
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

/// This thread has the lock, as somebody would who reserves memory for long.
class held_memory_lock {
public:
    explicit held_memory_lock(domain& of) : lock_{of.segments().layout().lock}
    {
        const auto nobody_is_dead = [](lane_id) { return false; };
        REQUIRE(lock_.lock(of.members().lane(), deadline{}, nobody_is_dead) ==
                lock_result::acquired);
    }
    ~held_memory_lock() { let_go(); }
    held_memory_lock(const held_memory_lock&) = delete;
    held_memory_lock& operator=(const held_memory_lock&) = delete;

    void let_go() noexcept
    {
        if (std::exchange(held_, false))
            lock_.unlock();
    }

private:
    owner_lock& lock_;
    bool held_ = true;
};

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
    REQUIRE(eventually([&] { return wired.port().link().up; }));  // the kernel needs a moment
    const auto first = wired.port().link();
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
    const auto before = kernel_says("near", "promiscuity");

    for (int twice = 0; twice != 2; ++twice) {
        wired.port().set_promiscuous(true);
        other.set_all_multicast(true);
    }
    CHECK(kernel_says("near", "promiscuity") == before + 1);
    CHECK(kernel_says("near", "allmulti") == 1);
    CHECK(other.link().promiscuous);
    CHECK(wired.port().link().all_multicast);

    for (int twice = 0; twice != 2; ++twice)
        other.set_promiscuous(false);
    CHECK(kernel_says("near", "promiscuity") == before);
    CHECK_FALSE(wired.port().link().promiscuous);
    CHECK(wired.port().link().all_multicast);

    wired.port().set_promiscuous(true);
    REQUIRE(wired.domain().destroy_port("port"));
    for (auto* handle : {&wired.port(), &other})
        CHECK(handle->rx_burst(0, {}) == 0);  // lets go of the sockets
    CHECK(eventually([&] {
        return kernel_says("near", "promiscuity") == 0 && kernel_says("near", "allmulti") == 0;
    }));
    CHECK_THROWS_AS(other.set_promiscuous(true), error);
    CHECK_FALSE(other.link().up);
}

TEST_CASE("behind a holder of the memory lock a port counts, and says what it cannot do",
          "[port][contract][link]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    wired_port wired{"af_packet"};
    free_bulk(wired.receive(8));
    held_memory_lock held{wired.domain()};

    CHECK(wired.port().rx_stats().packets == 8);
    CHECK_FALSE(wired.port().reset_stats());
    CHECK_THAT(wired.port().find_fault(), Catch::Contains("memory lock"));
    const std::function<void()> changes[] = {
        [&] { wired.port().set_promiscuous(true); },
        [&] { wired.port().set_offloads({.flow_hash = true}); },
    };
    for (const auto& change : changes)
        try {
            change();
            FAIL("it was done");
        } catch (const error& refused) {
            CHECK(refused.reason() == errc::stalled);
            CHECK_THAT(refused.what(), Catch::Contains("live lane"));
        }
    CHECK(wired.port().offloads() == port_offloads{});
    held.let_go();
    CHECK(wired.port().reset_stats());
    CHECK(wired.port().rx_stats().packets == 0);
    CHECK(wired.port().find_fault() == nullptr);
}

TEST_CASE("what a device drops while nobody can count it is counted later",
          "[port][contract][link]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    wired_port wired{"af_packet"};
    const raw_station far{"far", raw_station::hears::nothing};
    std::size_t sent = supplied;
    {
        held_memory_lock held{wired.domain()};
        for (int round = 0; round != 2; ++round) {
            for (int i = 0; i != 800; ++i, ++sent)  // more than the ring has frames
                REQUIRE(far.send(numbered_payload(sent)));
            CHECK(wired.port().rx_stats().missed == 0);
        }
    }

    CHECK(eventually([&] {
        free_bulk(wired.receive(supplied));
        const auto counted = wired.port().rx_stats();
        return counted.missed > 800 && counted.packets + counted.missed == sent;
    }));
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
