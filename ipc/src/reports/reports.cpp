#include "cohort/ipc/reports.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/domain/object_layout.hpp"
#include "cohort/memory/memseg_walk.hpp"
#include "cohort/pool/mempool.hpp"
#include "cohort/ring/ring_zone.hpp"
#include "cohort/ring/stage_layout.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

std::string_view role_text(member_role role) noexcept
{
    return role == member_role::primary ? "primary" : "secondary";
}

std::string_view state_text(member_state state) noexcept
{
    switch (state) {
    case member_state::empty: return "empty";
    case member_state::joining: return "joining";
    case member_state::live: return "live";
    case member_state::dying: return "dying";
    }
    return "?";
}

std::string_view state_text(lane_state state) noexcept
{
    switch (state) {
    case lane_state::free: return "free";
    case lane_state::entering: return "entering";
    case lane_state::live: return "live";
    case lane_state::leaving: return "leaving";
    case lane_state::dead: return "dead";
    case lane_state::orphan: return "orphan";
    }
    return "?";
}

std::string_view policy_text(recovery_policy policy) noexcept
{
    switch (policy) {
    case recovery_policy::release: return "release";
    case recovery_policy::redeliver: return "redeliver";
    case recovery_policy::give_back: return "give back";
    }
    return "?";
}

/// To a tenth.
double seconds_since(std::uint64_t then_ns)
{
    const auto now = monotonic_ns();
    return std::round(static_cast<double>(now > then_ns ? now - then_ns : 0) / 1e8) / 10;
}

/// In JSON `producer_mode`, and `producer_lane` or null, for the role "producer".
cell side_cell(const std::string& role, const ring_side& side, ring_mode mode)
{
    const auto lane = side.load().lane;
    const std::string kind = mode == ring_mode::single ? "single" : "multi";
    return {lane == 0 ? kind : fmt::format("{} (lane {})", kind, lane),
            {{role + "_mode", kind},
             {role + "_lane", lane == 0 ? nlohmann::json{} : nlohmann::json(lane)}}};
}

cell actions_cell(const member_layout& member)
{
    std::string text;
    auto names = nlohmann::json::array();
    for (const auto& offer : member.offers)
        if (!offer.empty()) {
            names.push_back(offer.view());
            text += (text.empty() ? "" : ",") + std::string{offer.view()};
        }
    return {text.empty() ? "-" : text, {{"actions", names}}};
}

std::string member_name(const region_layout& region, member_id id)
{
    return id < max_members ? std::string{region.members.members[id].name.view()} : "?";
}

cell type_cell(const memzone_layout& zone)
{
    if (zone.kind != zone_kind::object)
        return {"-", {{"type", nullptr}}};
    return readable_type(static_cast<const object_layout*>(zone.data())->type.peek().view());
}

}  // namespace

cell page_cell(std::uint64_t page_bytes)
{
    const std::string text{to_text(page_size{page_bytes})};
    return {text, {{"page", text}, {"page_bytes", page_bytes}}};
}

table list_members(const region_layout& region)
{
    table shown{{"member", "name", "role", "state", "pid", "lanes", "actions", "up_s"}, {}};
    for (member_id id = 1; id != max_members; ++id) {
        const auto& member = region.members.members[id];
        const auto word = member.word();
        if (word.state == member_state::empty)
            continue;
        const auto lanes =
            std::count_if(std::begin(region.members.lanes), std::end(region.members.lanes),
                          [&](const auto& lane) {
                              const auto held = lane.word();
                              return held.member == id && held.state == lane_state::live;
                          });
        shown.rows.push_back({id, member.name.view(), role_text(member.role),
                              state_text(word.state), member.pid, lanes, actions_cell(member),
                              seconds_since(member.joined_ns)});
    }
    return shown;
}

table list_actions(const region_layout& region)
{
    table shown{{"action", "member", "name"}, {}};
    for (member_id id = 1; id != max_members; ++id) {
        const auto& member = region.members.members[id];
        if (member.word().state != member_state::live)
            continue;
        for (const auto& offer : member.offers)
            if (!offer.empty())
                shown.rows.push_back({offer.view(), id, member.name.view()});
    }
    std::sort(shown.rows.begin(), shown.rows.end());
    return shown;
}

table list_deaths(const region_layout& region)
{
    table shown{{"death", "member", "name", "pid", "end", "received", "redelivered", "waited",
                 "cached", "released", "reaped_us"},
                {}};
    for (const auto& obituary : region.recovery.obituaries) {
        const auto number = obituary.number.load(std::memory_order_acquire);
        if (number == 0)
            continue;
        const auto count = [](const auto& counter) {
            return counter.load(std::memory_order_relaxed);  // for display
        };
        const auto took =
            obituary.reaped_ns > obituary.found_ns ? obituary.reaped_ns - obituary.found_ns : 0;
        shown.rows.push_back({number, obituary.member, obituary.name.view(), obituary.pid,
                              obituary.orderly != 0 ? "left" : "died", count(obituary.received),
                              count(obituary.redelivered), count(obituary.waiting),
                              count(obituary.cached), count(obituary.released), took / 1000});
    }
    std::sort(shown.rows.begin(), shown.rows.end());
    return shown;
}

table list_lanes(const region_layout& region)
{
    table shown{{"lane", "name", "state", "member", "member_name", "tid", "cpu"}, {}};
    for (lane_id id = 1; id != max_lanes; ++id) {
        const auto& lane = region.members.lanes[id];
        const auto word = lane.word();
        if (word.state != lane_state::free)
            shown.rows.push_back({id, lane.name.view(), state_text(word.state), word.member,
                                  member_name(region, word.member), lane.tid,
                                  lane.cpu < 0 ? cell{"any", {{"cpu", nullptr}}} : cell{lane.cpu}});
    }
    return shown;
}

table list_zones(const region_layout& region)
{
    table shown{{"kind", "name", "address", "bytes", "page", "node", "creator", "type"}, {}};
    for_each_used(region.memory, [&](const auto& zone) {
        if (!zone.is_live())
            return;
        const auto& list = region.memory.lists[zone.list % max_memseg_lists];
        const bool external = zone.is_external();
        shown.rows.push_back({to_text(zone.kind), zone.name.view(),
                              fmt::format("{:#x}", zone.address), zone.length,
                              external ? cell{"external"} : page_cell(list.page_bytes),
                              external ? nlohmann::json(nullptr) : nlohmann::json(list.numa_node),
                              zone.creator, type_cell(zone)});
    });
    std::sort(shown.rows.begin(), shown.rows.end(),
              [](const auto& a, const auto& b) { return a[2] < b[2]; });
    return shown;
}

table list_rings(const region_layout& region)
{
    table shown{
        {"ring", "capacity", "count", "element", "producers", "consumers", "stalls", "refused"},
        {}};
    for_each_live(region.memory, zone_kind::ring, [&](const memzone_layout& zone) {
        const auto& ring = *static_cast<const ring_layout*>(zone.data());
        const auto sum = [&](auto counter) {
            return (ring.producer.*counter).load(std::memory_order_relaxed)  // for display
                   + (ring.consumer.*counter).load(std::memory_order_relaxed);
        };
        shown.rows.push_back({zone.name.view(), ring.capacity, ring.count(), ring.element_bytes,
                              side_cell("producer", ring.producer, ring.producer_mode),
                              side_cell("consumer", ring.consumer, ring.consumer_mode),
                              sum(&ring_side::stalls), sum(&ring_side::refused)});
    });
    std::sort(shown.rows.begin(), shown.rows.end());
    return shown;
}

table list_stages(const region_layout& region)
{
    table shown{{"ring", "stage", "waiting", "held", "lost", "done", "redelivered", "oldest"}, {}};
    const auto holder_of = [&](const stage_holder& oldest) {
        if (oldest.count == 0 || oldest.lane == 0 || oldest.lane >= max_lanes)
            return cell{oldest.count == 0 ? "" : "nobody",
                        {{"oldest_lane", nullptr}, {"oldest_member", nullptr}}};
        const auto member = region.members.lanes[oldest.lane].word().member;
        return cell{fmt::format("{} (lane {})", member_name(region, member), oldest.lane),
                    {{"oldest_lane", oldest.lane}, {"oldest_member", member}}};
    };
    for_each_live(region.memory, zone_kind::ring, [&](const memzone_layout& zone) {
        const auto* ring = ring_in(zone);
        for (std::uint32_t stage = 0; ring && stage != ring->stages; ++stage) {
            const auto counts = count_stage(*ring, stage);
            const auto again = stage_of(*ring, stage).redelivered.load(std::memory_order_relaxed);
            shown.rows.push_back({zone.name.view(), stage, counts.waiting, counts.held,
                                  counts.abandoned, counts.done, again,  // for display
                                  holder_of(oldest_of(*ring, stage))});
        }
    });
    std::sort(shown.rows.begin(), shown.rows.end());
    return shown;
}

table list_pools(const region_layout& region)
{
    table shown{{"pool", "count", "capacity", "chunks", "available", "cached", "in_use", "element",
                 "cache", "policy", "failed_gets"},
                {}};
    for_each_live(region.memory, zone_kind::mempool, [&](const memzone_layout& zone) {
        const auto& pool = *static_cast<const mempool_layout*>(zone.data());
        std::uint64_t cached = 0;
        std::uint64_t failed = 0;
        for (lane_id lane = 1; lane != max_lanes; ++lane) {
            cached += pool.cache(lane).length.load(std::memory_order_relaxed);  // for display
            failed += pool.cache(lane).failed.load(std::memory_order_relaxed);
        }
        const std::uint64_t free = pool.backing().count() + cached;
        const std::uint64_t count = pool.count();
        shown.rows.push_back({zone.name.view(), count, pool.capacity, pool.listed().size(), free,
                              cached, count > free ? count - free : 0, pool.element_bytes,
                              pool.cache_size, policy_text(pool.policy), failed});
    });
    std::sort(shown.rows.begin(), shown.rows.end());
    return shown;
}

table list_holders(const region_layout& region, std::string_view pool)
{
    table shown{{"member", "name", "pid", "received", "fresh", "cached"}, {}};
    bool found = false;
    for_each_live(region.memory, zone_kind::mempool, [&](const memzone_layout& zone) {
        if (!(zone.name == pool))
            return;
        found = true;
        for (const auto& held : holders(audited(region), zone)) {
            const auto pid =
                held.member < max_members ? region.members.members[held.member].pid : 0;
            shown.rows.push_back({held.member,
                                  held.member == custody::device ? "(device)"
                                  : held.member == custody::kept ? "(kept)"
                                  : held.member > custody::kept  ? "(waiting)"
                                                                 : member_name(region, held.member),
                                  pid, held.received, held.fresh, held.cached});
        }
    });
    if (!found)
        throw error{errc::not_found,
                    fmt::format("there is no pool \"{}\"; \"cohort pools\" lists them", pool)};
    return shown;
}

table list_audit(const audit_report& report)
{
    table shown{{"pool", "count", "in_pool", "cached", "in_rings", "held", "followers", "shared",
                 "at_devices", "kept", "waiting", "unexplained"},
                {}};
    for (const auto& pool : report.pools)
        shown.rows.push_back({pool.name, pool.count, pool.in_pool, pool.cached, pool.in_rings,
                              pool.held, pool.followers, pool.shared, pool.at_devices, pool.kept,
                              pool.waiting, pool.unexplained});
    return shown;
}

}  // namespace cohort::ipc
