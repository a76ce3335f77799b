#include "activity.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/member/member_table.hpp"
#include "cohort/port/port_layout.hpp"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

namespace cohort::tool {
namespace {

constexpr auto display = std::memory_order_relaxed;  // a look: nothing is read through it

ring_counters counters_of(const ring_layout& ring)
{
    return {ring.producer.load().position, ring.count(), ring.capacity,
            std::uint64_t{ring.producer.stalls.load(display)} + ring.consumer.stalls.load(display),
            ring.producer.dropped.load(display)};
}

pool_counters counters_of(const region_layout& region, const memzone_layout& zone)
{
    const auto& pool = *static_cast<const mempool_layout*>(zone.data());
    pool_counters all{.count = pool.count(), .free = pool.backing().count(), .holder = {}};
    for (lane_id lane = 1; lane != max_lanes; ++lane) {
        all.free += pool.cache(lane).length.load(display);
        all.failed += pool.cache(lane).failed.load(display);
    }
    for (const auto& held : holders(audited(region), zone)) {
        const std::uint64_t sum = std::uint64_t{held.received} + held.fresh + held.cached;
        if (sum > all.holding && held.member < max_members) {
            all.holding = sum;
            all.holder = region.members.members[held.member].name.view();
        }
    }
    return all;
}

port_counters counters_of(const port_layout& port)
{
    port_counters all;
    for (const auto& queue : port.rx) {
        all.received += queue.packets.load(display);
        all.drops += queue.errors.load(display) + queue.no_buffer.load(display);
    }
    for (const auto& queue : port.tx) {
        all.sent += queue.packets.load(display);
        all.drops += queue.errors.load(display);
    }
    return all;
}

/// Time that a thread has been on a processor, from the scheduler.
std::int64_t busy_ns(int pid, int tid)
{
    std::ifstream file{fmt::format("/proc/{}/task/{}/schedstat", pid, tid)};
    std::int64_t time = 0;
    return file >> time ? time : -1;
}

void add_lanes(const region_layout& region, snapshot& into)
{
    const bool same_pids = own_pid_namespace() != 0;
    for (lane_id id = 1; id != max_lanes; ++id) {
        const auto& lane = region.members.lanes[id];
        const auto word = lane.word();
        if (word.state != lane_state::live || word.member >= max_members)
            continue;
        const auto& member = region.members.members[word.member];
        const bool seen = same_pids && member.pid_namespace == own_pid_namespace();
        into.lanes[std::uint64_t{id} << 32 | word.generation] = {
            std::string{lane.name.view()}, std::string{member.name.view()},
            seen ? busy_ns(member.pid, lane.tid) : -1};
    }
}

nlohmann::json rate(std::uint64_t before, std::uint64_t now, double seconds)
{
    return now >= before && seconds > 0 ? static_cast<double>(now - before) / seconds : 0.0;
}

double share(std::uint64_t part, std::uint64_t whole)
{
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

snapshot take_snapshot(const region_layout& region)
{
    snapshot seen;
    seen.taken_ns = monotonic_ns();
    for_each_used(region.memory, [&](const memzone_layout& zone) {
        const std::string name{zone.name.view()};
        if (!zone.is_live())
            return;
        if (zone.kind == zone_kind::ring)
            seen.rings[name] = counters_of(*static_cast<const ring_layout*>(zone.data()));
        if (zone.kind == zone_kind::mempool)
            seen.pools[name] = counters_of(region, zone);
        if (zone.kind == zone_kind::port)
            seen.ports[name] = counters_of(*static_cast<const port_layout*>(zone.data()));
    });
    add_lanes(region, seen);
    for (const auto& member : region.members.members)
        seen.members += member.word().state == member_state::live ? 1 : 0;
    return seen;
}

nlohmann::json activity_between(const snapshot& before, const snapshot& now)
{
    const auto seconds = static_cast<double>(now.taken_ns - before.taken_ns) / 1e9;
    auto rings = nlohmann::json::array();
    for (const auto& [name, ring] : now.rings) {
        const auto old = before.rings.find(name);
        const std::uint32_t moved =
            old == before.rings.end() ? 0 : ring.position - old->second.position;
        rings.push_back({{"ring", name},
                         {"rate", rate(0, moved, seconds)},
                         {"fill", share(ring.count, ring.capacity)},
                         {"count", ring.count},
                         {"stalls", ring.stalls},
                         {"drops", ring.drops}});
    }
    auto pools = nlohmann::json::array();
    for (const auto& [name, pool] : now.pools)
        pools.push_back({{"pool", name},
                         {"in_use", pool.count - std::min(pool.free, pool.count)},
                         {"count", pool.count},
                         {"failed", pool.failed},
                         {"holder", pool.holder},
                         {"holding", pool.holding}});
    auto ports = nlohmann::json::array();
    for (const auto& [name, port] : now.ports) {
        const auto old = before.ports.find(name);
        const auto since = old == before.ports.end() ? port : old->second;
        ports.push_back({{"port", name},
                         {"rx_rate", rate(since.received, port.received, seconds)},
                         {"tx_rate", rate(since.sent, port.sent, seconds)},
                         {"drops", port.drops}});
    }
    auto lanes = nlohmann::json::array();
    for (const auto& [key, lane] : now.lanes) {
        const auto old = before.lanes.find(key);
        nlohmann::json busy;
        if (old != before.lanes.end() && lane.busy_ns >= 0 && old->second.busy_ns >= 0 &&
            seconds > 0)
            busy = static_cast<double>(lane.busy_ns - old->second.busy_ns) / 1e9 / seconds;
        lanes.push_back(
            {{"lane", key >> 32}, {"name", lane.name}, {"member", lane.member}, {"busy", busy}});
    }
    return {{"seconds", seconds}, {"members", now.members}, {"rings", rings},
            {"pools", pools},     {"ports", ports},         {"lanes", lanes}};
}

}  // namespace cohort::tool
