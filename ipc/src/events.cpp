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

member_ref primary_of(std::uint64_t word) noexcept
{
    return {static_cast<member_id>(word >> 32), static_cast<std::uint32_t>(word)};
}

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
    take_baseline();
    look([](const domain_event&) {});
    lost_ = 0;
}

/// What is on its way comes or goes as one that has been seen.
void event_watch::take_baseline()
{
    for (member_id id = 1; id != max_members; ++id) {
        const auto word = region_.members.members[id].word();
        if (word.state == member_state::joining || word.state == member_state::dying)
            members_[id].member = {id,
                                   word.generation - (word.state == member_state::joining ? 1 : 0)};
    }
    for_each_used(region_.memory, [&](const auto& zone) {
        const auto word = zone.word();
        if (word.state == zone_state::init || word.state == zone_state::dying)
            objects_[&zone].generation = word.generation - (word.state == zone_state::init ? 1 : 0);
    });
    epoch_ = region_.header.epoch.load(std::memory_order_acquire);
    last_primary_ = region_.header.primary.load(std::memory_order_acquire);
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
    for (const auto& event : found)
        lost_ += event.lost;
    for (std::size_t told = 0; told != found.size(); ++told)
        try {
            hears(found[told]);
        } catch (...) {
            lost_ += found.size() - told;
            throw;
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

bool event_watch::is_alive(std::uint64_t primary) const
{
    const auto one = primary_of(primary);
    return one.id != 0 && one.id < max_members && members_[one.id].alive &&
           members_[one.id].member == one;
}

/// Each primary counts itself in the epoch and then shows itself.
void event_watch::look_at_primary(std::vector<domain_event>& found)
{
    const auto word = region_.header.primary.load(std::memory_order_acquire);
    const bool alive = is_alive(word);
    const auto about = [&](event_kind what, std::uint64_t primary) -> domain_event& {
        const auto one = primary_of(primary);
        return found.emplace_back(
            domain_event{.what = what, .member = one, .name = members_[one.id % max_members].name});
    };
    if (primary_ != 0 && (primary_ != word || !alive))
        about(event_kind::primary_lost, std::exchange(primary_, 0)).name = primary_name_;
    if (word == last_primary_ && alive == (primary_ != 0))
        return;
    const auto slot = region_.members.members[primary_of(word).id % max_members].word();
    if (!alive && slot.generation == primary_of(word).generation &&
        slot.state != member_state::empty)
        return;  // it has come since the members were looked at
    std::uint64_t missed = 0;
    if (word != last_primary_) {
        const auto epoch = region_.header.epoch.load(std::memory_order_acquire);
        const auto came = epoch - std::exchange(epoch_, epoch);
        last_primary_ = word;
        if (came != 0)
            missed = 2 * std::uint64_t{came - (alive ? 1u : 0u)};
        else if (alive)
            lost_ -= std::min<std::uint64_t>(lost_, 2);  // it had counted itself at the last look
    }
    if (!alive) {
        lost_ += missed;
        return;
    }
    auto& back = about(event_kind::primary_back, word);
    back.lost = missed;
    primary_name_ = back.name;
    primary_ = word;
}

void event_watch::look_at_memory(std::vector<domain_event>& found)
{
    const auto lists = std::min<std::size_t>(region_.memory.list_count, max_memseg_lists);
    for (std::size_t i = 0; i != lists; ++i) {
        const auto& list = region_.memory.lists[i];
        // Relaxed: for display. A step is counted after it is published, and read before: a change
        // whose step is not counted yet is a debt.
        const auto steps = list.growths.load(std::memory_order_relaxed) +
                           list.give_backs.load(std::memory_order_relaxed);
        const auto now = list.published.load(std::memory_order_relaxed);
        const auto before = std::exchange(lists_[i], {now, steps, 0});
        const auto counted = steps - before.steps;
        const auto paid = std::min(counted, before.debt);
        const auto others = counted - paid;
        lists_[i].debt = before.debt - paid;
        if (now == before.published) {
            lost_ += others;
            continue;
        }
        lists_[i].debt += others == 0 ? 1 : 0;
        found.push_back(
            {.what = now > before.published ? event_kind::memory_grown : event_kind::memory_shrunk,
             .list = i,
             .bytes = now > before.published ? now - before.published : before.published - now,
             .lost = others == 0 ? 0 : others - 1});
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
    seen = {word.generation, created,     zone.kind, created ? std::string{zone.name.view()} : "",
            zone.length,     zone.creator};
    if (created && seen.kind == zone_kind::mempool)
        note_size(seen, *static_cast<const mempool_layout*>(zone.data()));
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

void event_watch::note_size(seen_object& seen, const mempool_layout& pool)
{
    const auto all = pool.listed();  // one look
    seen.objects = all.empty() ? 0 : all.back().first + all.back().count;
    seen.chunks = all.size();
}

void event_watch::look_at_pool(const memzone_layout& zone, std::vector<domain_event>& found)
{
    auto& seen = objects_[&zone];
    if (!seen.live || seen.kind != zone_kind::mempool || !zone.is_live())
        return;
    const auto before = seen;
    note_size(seen, *static_cast<const mempool_layout*>(zone.data()));
    if (seen.objects > before.objects)
        found.push_back({.what = event_kind::pool_grown,
                         .member = {seen.creator, 0},
                         .name = seen.name,
                         .object = seen.kind,
                         .bytes = seen.bytes,
                         .objects = seen.objects - before.objects,
                         .lost = seen.chunks - before.chunks - 1});
}

}  // namespace cohort::ipc
