// A handle outlives its port: by then anything may be in that memory.

#include "cohort/base/error.hpp"
#include "cohort/port/rx_wait.hpp"
#include "cohort/port/xstats.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace cohort::test {
namespace {

bool refuses(const std::function<void()>& call)
{
    try {
        call();
    } catch (const error& refused) {
        return refused.reason() == errc::invalid_argument;
    }
    return false;
}

bool is_nothing(const port_stats& counted)
{
    return counted.packets == 0 && counted.bytes == 0 && counted.missed == 0 &&
           counted.errors == 0 && counted.no_buffer == 0;
}

struct port_call {
    const char* name;
    std::function<bool(port&)> finds_nothing;
};

/// Those that close the device come last.
const std::vector<port_call>& calls()
{
    static const std::vector<port_call> all{
        {"rx_stats",
         [](port& at) { return is_nothing(at.rx_stats()) && is_nothing(at.rx_stats(0)); }},
        {"tx_stats",
         [](port& at) { return is_nothing(at.tx_stats()) && is_nothing(at.tx_stats(0)); }},
        {"xstats",
         [](port& at) {
             const auto counts = xstats(at);
             return std::all_of(counts.begin(), counts.end(),
                                [](const xstat& each) { return each.value == 0; });
         }},
        {"reset_stats", [](port& at) { return !at.reset_stats(); }},
        {"link", [](port& at) { return !at.link().up && at.link().mtu == 0; }},
        {"set_promiscuous", [](port& at) { return refuses([&] { at.set_promiscuous(true); }); }},
        {"find_fault", [](port& at) { return at.find_fault() == nullptr; }},
        {"is_started", [](port& at) { return !at.is_started(); }},
        {"rx_ended", [](port& at) { return at.rx_ended(0); }},
        {"start", [](port& at) { return refuses([&] { at.start(); }); }},
        {"stop", [](port& at) { return refuses([&] { at.stop(); }); }},
        {"start_rx", [](port& at) { return refuses([&] { at.start_rx(0); }); }},
        {"stop_rx", [](port& at) { return refuses([&] { at.stop_rx(0); }); }},
        {"start_tx", [](port& at) { return refuses([&] { at.start_tx(0); }); }},
        {"stop_tx", [](port& at) { return refuses([&] { at.stop_tx(0); }); }},
        {"set_offloads",
         [](port& at) { return refuses([&] { at.set_offloads({.flow_hash = true}); }); }},
        {"offloads", [](port& at) { return at.offloads() == port_offloads{}; }},
        {"set_up_rx", [](port& at) { return refuses([&] { at.set_up_rx(0, {}); }); }},
        {"set_up_tx", [](port& at) { return refuses([&] { at.set_up_tx(0, {}); }); }},
        {"release_rx", [](port& at) { return !at.release_rx(0); }},
        {"release_tx", [](port& at) { return !at.release_tx(0); }},
        {"rx_fd", [](port& at) { return at.rx_fd(0) >= 0; }},
        {"prime",
         [](port& at) {
             at.prime();
             return true;
         }},
        {"rx_arm", [](port& at) { return at.rx_arm(0) == rx_wake::gone; }},
        {"rx_wait", [](port& at) { return at.rx_wait(0, deadline_in(20s)) == rx_wake::gone; }},
        {"rx_burst",
         [](port& at) {
             mbuf* packet = nullptr;
             return at.rx_burst(0, {&packet, 1}) == 0;
         }},
        {"tx_burst", [](port& at) { return at.tx_burst(0, {}) == 0; }},
    };
    return all;
}

/// Destroys the port and puts into its memory what its words were while the calling lane had both
/// queues and the counters had counted: a handle that looks there finds the port as it left it.
std::span<std::byte> replace_by_likeness(wired_port& wired)
{
    const auto* layout = &wired.port().layout();
    std::vector<std::byte> likeness(sizeof *layout);
    std::memcpy(likeness.data(), static_cast<const void*>(layout), likeness.size());
    REQUIRE(wired.domain().destroy_port("port"));
    const auto bytes = wired.domain().reserve_memzone("likeness", likeness.size()).bytes();
    REQUIRE(static_cast<const void*>(bytes.data()) == layout);
    std::copy(likeness.begin(), likeness.end(), bytes.begin());
    return bytes;
}

}  // namespace

TEST_CASE("the handle of a port that is gone finds nothing and leaves its memory to others",
          "[port][contract][gone]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    free_bulk(wired.receive(8));
    auto* packet = wired.packet(0);
    REQUIRE(wired.port().tx_burst(0, {&packet, 1}) == 1);
    REQUIRE(wired.port().rx_fd(0) >= 0);
    auto other = wired.domain().find_port("port").value();
    const auto successor = replace_by_likeness(wired);
    const std::vector<std::byte> before{successor.begin(), successor.end()};

    for (const char* const pass : {"device open", "device closed"})
        for (const auto& call : calls()) {
            INFO(pass << ": " << call.name);
            CHECK(call.finds_nothing(wired.port()));
            REQUIRE(std::equal(before.begin(), before.end(), successor.begin()));
        }
    CHECK(refuses([&] { static_cast<void>(other.rx_fd(0)); }));  // nobody has waited there before
}

}  // namespace cohort::test
