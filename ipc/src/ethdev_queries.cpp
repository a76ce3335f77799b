// What collectors of rte_ethdev ask for, under its paths and names (DPDK 22.11): a port by its
// number, that is the one in `mbuf::port`.

#include "cohort/base/error.hpp"
#include "cohort/ipc/queries.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_layout.hpp"
#include "cohort/port/port_link.hpp"
#include "cohort/port/xstats.hpp"

#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cohort::ipc {
namespace {

using nlohmann::json;

constexpr std::size_t counted_queues = 16;  // as rte_eth_stats has

/// The entry of the port with that number, perhaps with more behind a comma; nullptr when there is
/// none.
const memzone_layout* port_numbered(const region_layout& region, std::string_view text)
{
    unsigned number = 0;
    text = text.substr(0, text.find(','));
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failed != std::errc{} || end != text.data() + text.size())
        throw error{errc::invalid_argument,
                    fmt::format("\"{}\" is not the number of a port", text)};
    const memzone_layout* found = nullptr;
    for_each_live(region.memory, zone_kind::port, [&](const memzone_layout& zone) {
        if (static_cast<const port_layout*>(zone.data())->index == number)
            found = &zone;
    });
    return found;
}

json stats_in(const port_layout& port)
{
    const auto rx = stats_of(port, port_direction::rx);
    const auto tx = stats_of(port, port_direction::tx);
    json all{{"ipackets", rx.packets}, {"opackets", tx.packets},   {"ibytes", rx.bytes},
             {"obytes", tx.bytes},     {"imissed", rx.missed},     {"ierrors", rx.errors},
             {"oerrors", tx.errors},   {"rx_nombuf", rx.no_buffer}};
    const auto of = [&](port_direction direction, std::size_t i) {
        const auto queues = queues_of(port, direction);
        return i < queues.size() ? stats_of(queues[i]) : port_stats{};
    };
    for (std::size_t i = 0; i != counted_queues; ++i) {
        const auto in = of(port_direction::rx, i);
        const auto out = of(port_direction::tx, i);
        all["q_ipackets"].push_back(in.packets);
        all["q_opackets"].push_back(out.packets);
        all["q_ibytes"].push_back(in.bytes);
        all["q_obytes"].push_back(out.bytes);
        all["q_errors"].push_back(in.errors);
    }
    return all;
}

json xstats_in(const port_layout& port)
{
    json all = json::object();
    for (const auto& each : xstats(port))
        all[each.name] = each.value;
    return all;
}

json info_of(const memzone_layout& zone)
{
    const auto& port = *static_cast<const port_layout*>(zone.data());
    const auto phase = port_phase::unpack(port.phase.load(std::memory_order_relaxed));
    const bool is_started = phase.state == port_state::started;
    const auto states = [&](port_direction direction) {
        auto all = json::array();
        for (const auto& queue : queues_of(port, direction))
            all.push_back(is_started && (phase.silent & port.bit_of(queue)) == 0 ? 1 : 0);
        return all;
    };
    const auto receives = port.receives.load(std::memory_order_relaxed);  // for display
    const auto passes = [&](reception which) {
        return (receives & static_cast<std::uint32_t>(which)) != 0 ? 1 : 0;
    };
    return {{"name", zone.name.view()},
            {"driver", port.driver.view()},
            {"state", 1},
            {"port_id", port.index},
            {"nb_rx_queues", port.rx_queues},
            {"nb_tx_queues", port.tx_queues},
            {"mtu", port.mtu},
            {"mac_addr", fmt::format("{:02X}", fmt::join(port.mac, ":"))},
            {"promiscuous", passes(reception::promiscuous)},
            {"all_multicast", passes(reception::all_multicast)},
            {"scattered_rx", 1},
            {"dev_configured", 1},
            {"dev_started", is_started ? 1 : 0},
            {"rxq_state", states(port_direction::rx)},
            {"txq_state", states(port_direction::tx)}};
}

/// Null for an interface that who answers does not see.
json link_in(const port_layout& port)
{
    const auto phase = port_phase::unpack(port.phase.load(std::memory_order_relaxed));
    auto now = std::optional{port_link{.up = phase.state == port_state::started}};
    if (has_interface(port))
        now = look_at_interface_of(port);
    if (!now)
        return nullptr;
    if (!now->up)
        return {{"status", "DOWN"}};
    return {{"status", "UP"},
            {"speed", now->speed},
            {"duplex", now->full_duplex ? "full-duplex" : "half-duplex"}};
}

}  // namespace

// No handle is opened: that asks other members for descriptors, and who answers must not wait.
void queries::add_ethdev()
{
    const auto add_port = [this](const std::string& path, const std::string& what, auto told) {
        add(path, what + ". Parameters: int port_id",
            [this, told = std::move(told)](std::string_view number) {
                const auto* zone = port_numbered(domain_.region(), number);
                if (!zone)
                    return json{};
                const auto before = zone->word();
                if (before.state != zone_state::live || zone->kind != zone_kind::port)
                    return json{};
                auto answer = told(*zone);
                return zone->word() == before ? answer : json{};  // else it has gone meanwhile
            });
    };
    const auto port_in = [](const memzone_layout& zone) -> const port_layout& {
        return *static_cast<const port_layout*>(zone.data());
    };
    add("/ethdev/list", "Numbers of ports. Takes no parameters", [=, this](std::string_view) {
        auto numbers = json::array();
        for_each_live(domain_.region().memory, zone_kind::port,
                      [&](const auto& zone) { numbers.push_back(port_in(zone).index); });
        return numbers;
    });
    add_port("/ethdev/stats", "Counters of a port; what a device has missed is fetched each second",
             [=](const memzone_layout& zone) { return stats_in(port_in(zone)); });
    add_port("/ethdev/xstats", "The same by name, with those of each queue",
             [=](const memzone_layout& zone) { return xstats_in(port_in(zone)); });
    add_port("/ethdev/info", "What a port is", info_of);
    add_port("/ethdev/link_status",
             "Link of a port; null for an interface of another network namespace",
             [=](const memzone_layout& zone) { return link_in(port_in(zone)); });
}

}  // namespace cohort::ipc
