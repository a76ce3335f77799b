#include "cohort/ipc/events.hpp"

#include "box_name.hpp"
#include "cohort/pool/mempool_layout.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <sys/wait.h>

namespace cohort::ipc {
namespace {

/// Its end was orderly; nothing when the region no longer knows.
std::optional<bool> left_in_order(const region_layout& region, member_ref gone)
{
    for (const auto& obituary : region.recovery.obituaries)
        if (obituary.number.load(std::memory_order_acquire) != 0 && obituary.member == gone.id &&
            obituary.generation == gone.generation)
            return obituary.orderly != 0;
    return std::nullopt;
}

}  // namespace

std::string_view to_text(event_kind what) noexcept
{
    switch (what) {
    case event_kind::member_joined: return "member joined";
    case event_kind::member_left: return "member left";
    case event_kind::member_died: return "member died";
    case event_kind::primary_lost: return "primary lost";
    case event_kind::primary_back: return "primary back";
    case event_kind::memory_grown: return "memory grown";
    case event_kind::memory_shrunk: return "memory shrunk";
    case event_kind::object_created: return "object created";
    case event_kind::object_destroyed: return "object destroyed";
    case event_kind::pool_grown: return "pool grown";
    }
    return "?";
}

std::string exit_reason(int pidfd)
{
    siginfo_t about{};
    if (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &about, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        about.si_pid == 0)
        return {};
    return fmt::format("{} {}", about.si_code == CLD_EXITED ? "exit code" : "signal",
                       about.si_status);
}

event_watch::event_watch(const region_layout& region) : region_{region}
{
    look([](const domain_event&) {});
    lost_ = 0;
}

std::size_t event_watch::look(const event_handler& hears)
{
    std::vector<domain_event> found;
    look_at_members(found);
    look_at_primary(found);
    look_at_memory(found);
    for_each_used(region_.memory, [&](const auto& zone) {
        look_at_object(zone, found);
        look_at_pool(zone, found);
    });
    for (const auto& event : found) {
        lost_ += event.lost;
        hears(event);
    }
    return found.size();
}

void event_watch::note_reason(member_ref dead, std::string reason)
{
    if (!reason.empty())
        reasons_.insert_or_assign(key_of(dead), std::move(reason));
}

void event_watch::look_at_members(std::vector<domain_event>& found)
{
    for (member_id id = 1; id != max_members; ++id)
        look_at_member(id, found);
}

domain_event event_watch::end_of(const seen_member& gone)
{
    const bool orderly = left_in_order(region_, gone.member).value_or(false);
    domain_event event{.what = orderly ? event_kind::member_left : event_kind::member_died,
                       .member = gone.member,
                       .name = gone.name};
    if (const auto why = reasons_.find(key_of(gone.member)); why != reasons_.end()) {
        event.reason = orderly ? "" : why->second;
        reasons_.erase(why);
    }
    return event;
}

/// A member that is DYING has not ended yet: its slot becomes EMPTY when it is settled.
void event_watch::look_at_member(member_id id, std::vector<domain_event>& found)
{
    auto& seen = members_[id];
    const auto& slot = region_.members.members[id];
    const auto word = slot.word();
    const bool same = word.generation == seen.member.generation;
    if (seen.alive && (!same || word.state == member_state::empty)) {
        found.push_back(end_of(seen));
        seen.alive = false;
    }
    const bool joined = !seen.alive && word.state == member_state::live;
    const bool settled = !seen.alive && word.state == member_state::empty;
    if ((!joined && !settled) || (same && !joined))
        return;
    // Each generation between has joined and ended.
    const std::uint64_t missed = word.generation - seen.member.generation - (joined ? 1 : 0);
    seen = {{id, word.generation}, joined, joined ? std::string{slot.name.view()} : ""};
    if (joined)
        found.push_back({.what = event_kind::member_joined,
                         .member = seen.member,
                         .name = seen.name,
                         .lost = 2 * missed});
    else
        lost_ += 2 * missed;
}

void event_watch::look_at_primary(std::vector<domain_event>& found)
{
    const auto word = region_.header.primary.load(std::memory_order_acquire);
    const member_ref primary{static_cast<member_id>(word >> 32), static_cast<std::uint32_t>(word)};
    const bool alive = primary.id != 0 && primary.id < max_members && members_[primary.id].alive &&
                       members_[primary.id].member == primary;
    if (alive == primary_)
        return;
    primary_ = alive;
    found.push_back({.what = alive ? event_kind::primary_back : event_kind::primary_lost,
                     .member = primary,
                     .name = members_[primary.id % max_members].name});
}

void event_watch::look_at_memory(std::vector<domain_event>& found)
{
    const auto lists = std::min<std::size_t>(region_.memory.list_count, max_memseg_lists);
    for (std::size_t i = 0; i != lists; ++i) {
        const auto now =
            region_.memory.lists[i].published.load(std::memory_order_relaxed);  // for display
        const auto before = std::exchange(published_[i], now);
        if (now != before)
            found.push_back(
                {.what = now > before ? event_kind::memory_grown : event_kind::memory_shrunk,
                 .list = i,
                 .bytes = now > before ? now - before : before - now});
    }
}

/// An object that is DYING may still become LIVE again: it has gone when its entry is EMPTY.
void event_watch::look_at_object(const memzone_layout& zone, std::vector<domain_event>& found)
{
    auto& seen = objects_[&zone];
    const auto word = zone.word();
    const bool same = word.generation == seen.generation;
    if (seen.live && (!same || word.state == zone_state::empty)) {
        found.push_back({.what = event_kind::object_destroyed,
                         .member = {seen.creator, 0},
                         .name = seen.name,
                         .object = seen.kind,
                         .bytes = seen.bytes});
        seen.live = false;
    }
    const bool created = !seen.live && word.state == zone_state::live;
    const bool gone = !seen.live && word.state == zone_state::empty;
    if ((!created && !gone) || (same && !created))
        return;
    const std::uint64_t missed = word.generation - seen.generation - (created ? 1 : 0);
    seen = {word.generation, created,      zone.kind, created ? std::string{zone.name.view()} : "",
            zone.length,     zone.creator, 0};
    if (created && seen.kind == zone_kind::mempool)
        seen.objects = static_cast<const mempool_layout*>(zone.data())->count();
    if (created)
        found.push_back({.what = event_kind::object_created,
                         .member = {zone.creator, 0},
                         .name = seen.name,
                         .object = seen.kind,
                         .bytes = seen.bytes,
                         .lost = 2 * missed});
    else
        lost_ += 2 * missed;
}

void event_watch::look_at_pool(const memzone_layout& zone, std::vector<domain_event>& found)
{
    auto& seen = objects_[&zone];
    if (!seen.live || seen.kind != zone_kind::mempool || !zone.is_live())
        return;
    const auto now = static_cast<const mempool_layout*>(zone.data())->count();
    if (now > seen.objects)
        found.push_back({.what = event_kind::pool_grown,
                         .member = {seen.creator, 0},
                         .name = seen.name,
                         .object = seen.kind,
                         .bytes = seen.bytes,
                         .objects = now - seen.objects});
    seen.objects = now;
}

}  // namespace cohort::ipc
