#include "cohort/ipc/reports.hpp"
#include "cohort/port/port_layout.hpp"
#include "cohort/port/port_offload.hpp"
#include "cohort/port/xstats.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

using queues = std::span<const port_queue_layout>;

const char* state_of(const port_layout& port)
{
    switch (port_phase::unpack(port.phase.load(std::memory_order_relaxed)).state) {
    case port_state::stopped: return "stopped";
    case port_state::started: return "started";
    case port_state::closing: return "closing";
    }
    return "?";
}

/// Of a queue: that of its port, unless it alone is stopped.
const char* state_of(const port_layout& port, const port_queue_layout& queue)
{
    const auto phase = port_phase::unpack(port.phase.load(std::memory_order_relaxed));
    return (phase.silent & port.bit_of(queue)) != 0 ? "silent" : state_of(port);
}

/// What is done in software to what passes.
cell offloads_cell(const port_layout& port)
{
    const auto now = port_offloads::unpack(port.offloads.load(std::memory_order_relaxed));
    std::vector<std::string> names;
    for (const auto& [is_on, name] : {std::pair{now.vlan_strip, "vlan_strip"},
                                      {now.packet_type, "packet_type"},
                                      {now.flow_hash, "flow_hash"},
                                      {now.tx_prepare, "tx_prepare"}})
        if (is_on)
            names.emplace_back(name);
    return {names.empty() ? "-" : fmt::format("{}", fmt::join(names, " ")), {{"offloads", names}}};
}

/// nullptr when the lane is nobody's.
const member_layout* member_of(const region_layout& region, lane_id lane)
{
    const auto word = lane < max_lanes ? region.members.lanes[lane].word() : lane_word{};
    if (lane == 0 || word.member == 0 || word.member >= max_members)
        return nullptr;
    return &region.members.members[word.member];
}

/// The member whose lane polls a queue.
cell owner_cell(const region_layout& region, lane_id lane)
{
    const auto* member = member_of(region, lane);
    if (!member)
        return {"-", {{"owner", nullptr}, {"lane", nullptr}}};
    return {fmt::format("{} (lane {})", member->name.view(), lane),
            {{"owner", member->name.view()}, {"lane", lane}}};
}

/// The member that captures what passes a port.
cell capturer_cell(const region_layout& region, const port_layout& port)
{
    const bool captured = port.capture.load(std::memory_order_relaxed) != 0;  // for display
    const auto* member = captured ? member_of(region, port.capturer.holder()) : nullptr;
    if (!member)
        return {"-", {{"captured_by", nullptr}}};
    return member->name.view();
}

/// Of the device as it was when the port was made.
cell mtu_cell(const port_layout& port)
{
    if (port.mtu == 0)
        return {"-", {{"mtu", nullptr}}};
    return port.mtu;
}

cell pool_cell(const region_layout& region, std::uint32_t pool)
{
    if (pool == 0 || pool > region.memory.zone_count)
        return {"-", {{"pool", nullptr}}};
    return std::string{region.memory.zones[pool - 1].name.peek().view()};
}

}  // namespace

table list_ports(const region_layout& region)
{
    table shown{{"port", "driver", "state", "rx_queues", "tx_queues", "rx_packets", "rx_bytes",
                 "tx_packets", "tx_bytes", "errors", "missed", "no_buffer", "mtu", "captured_by",
                 "offloads"},
                {}};
    for_each_live(region.memory, zone_kind::port, [&](const memzone_layout& zone) {
        const auto& port = *static_cast<const port_layout*>(zone.data());
        const auto rx = queues_of(port, port_direction::rx);
        const auto tx = queues_of(port, port_direction::tx);
        const auto sum = [](queues all, auto counter) {
            std::uint64_t total = 0;
            for (const auto& each : all)
                total += (each.*counter).load(std::memory_order_relaxed);  // for display
            return total;
        };
        using queue = port_queue_layout;
        shown.rows.push_back({zone.name.view(), port.driver.view(), state_of(port), rx.size(),
                              tx.size(), sum(rx, &queue::packets), sum(rx, &queue::bytes),
                              sum(tx, &queue::packets), sum(tx, &queue::bytes),
                              sum(rx, &queue::errors) + sum(tx, &queue::errors),
                              sum(rx, &queue::missed), sum(rx, &queue::no_buffer), mtu_cell(port),
                              capturer_cell(region, port), offloads_cell(port)});
    });
    std::sort(shown.rows.begin(), shown.rows.end());
    return shown;
}

table list_queues(const region_layout& region)
{
    table shown{{"port", "queue", "owner", "state", "descriptors", "pool", "ended", "packets",
                 "bytes", "errors", "missed", "no_buffer"},
                {}};
    const auto list = [&](const memzone_layout& zone, const char* direction, queues all) {
        const auto& port = *static_cast<const port_layout*>(zone.data());
        for (std::size_t i = 0; i != all.size(); ++i) {
            const auto& queue = all[i];
            const auto count = [](const auto& counter) {
                return counter.load(std::memory_order_relaxed);  // for display
            };
            shown.rows.push_back(
                {zone.name.view(),
                 {fmt::format("{} {}", direction, i), {{"direction", direction}, {"queue", i}}},
                 owner_cell(region, queue.owner.holder()),
                 state_of(port, queue),
                 queue.descriptors,
                 pool_cell(region, queue.pool),
                 {count(queue.ended) != 0 ? "yes" : "-", {{"ended", count(queue.ended) != 0}}},
                 count(queue.packets),
                 count(queue.bytes),
                 count(queue.errors),
                 count(queue.missed),
                 count(queue.no_buffer)});
        }
    };
    for_each_live(region.memory, zone_kind::port, [&](const memzone_layout& zone) {
        const auto& port = *static_cast<const port_layout*>(zone.data());
        list(zone, "rx", queues_of(port, port_direction::rx));
        list(zone, "tx", queues_of(port, port_direction::tx));
    });
    std::stable_sort(shown.rows.begin(), shown.rows.end(),
                     [](const auto& a, const auto& b) { return a[0] < b[0]; });
    return shown;
}

}  // namespace cohort::ipc
