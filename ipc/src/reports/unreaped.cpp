#include "cohort/ipc/reports.hpp"
#include "cohort/member/member_table.hpp"

#include <algorithm>
#include <optional>
#include <string>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

/// Buffers of all pools that a member holds.
std::uint64_t held_by(const region_layout& region, member_id id, std::uint32_t generation)
{
    std::uint64_t sum = 0;
    for_each_live(region.memory, zone_kind::mempool, [&](const memzone_layout& zone) {
        for (const auto& held : holders(audited(region), zone))
            if (held.member == id && static_cast<std::uint16_t>(held.generation) ==
                                         static_cast<std::uint16_t>(generation))
                sum += std::uint64_t{held.received} + held.fresh + held.cached;
    });
    return sum;
}

/// Why a member counts as dead; nothing while it lives, or cannot be said to be dead.
std::optional<std::string> cause_of_death(const region_layout& region, member_id id,
                                          member_word word, const lock_description& lock)
{
    if (word.state == member_state::dying)
        return "is being reaped";
    if (word.state != member_state::live || lock.is_locked(lock_description::member_byte(id)))
        return std::nullopt;
    const auto& lanes = region.members.lanes;
    const bool some_alive = std::any_of(std::begin(lanes), std::end(lanes), [&](const auto& lane) {
        const auto held = lane.word();
        return held.member == id && held.state != lane_state::free && lane.sentinel.is_held() &&
               !lane.sentinel.owner_died();
    });
    return some_alive ? std::nullopt : std::optional<std::string>{"died"};
}

}  // namespace

table list_unreaped(const region_layout& region, const rendezvous& place)
{
    table shown{{"kind", "id", "name", "member", "state", "buffers"}, {}};
    const lock_description lock{place.lock_file(), lock_description::open_mode::existing};
    for (member_id id = 1; id != max_members; ++id) {
        const auto& member = region.members.members[id];
        const auto word = member.word();
        if (word.state == member_state::empty)
            continue;
        if (const auto cause = cause_of_death(region, id, word, lock))
            shown.rows.push_back({"member", id, member.name.view(), id, *cause,
                                  held_by(region, id, word.generation)});
    }
    for (lane_id id = 1; id != max_lanes; ++id) {
        const auto& lane = region.members.lanes[id];
        const auto word = lane.word();
        const bool dead = word.state == lane_state::dead ||
                          (word.state != lane_state::free && word.state != lane_state::orphan &&
                           lane.sentinel.owner_died());
        if (dead)
            shown.rows.push_back({"lane", id, lane.name.view(), word.member,
                                  word.state == lane_state::dead ? "is being reaped" : "died",
                                  nlohmann::json(nullptr)});
    }
    return shown;
}

}  // namespace cohort::ipc
