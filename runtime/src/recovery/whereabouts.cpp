#include "cohort/recovery/whereabouts.hpp"

#include "cohort/recovery/object_view.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort {
namespace {

using spot = whereabouts::place;

/// The ring that holds the handle, its own pool's included; nullptr when none does.
const memzone_layout* ring_with(object_views& views, std::uint64_t handle)
{
    const memzone_layout* found = nullptr;
    views.for_each_custody_ring([&](const memzone_layout& zone, const ring_layout& ring) {
        for_each_handle(ring, [&](std::uint64_t each) { found = each == handle ? &zone : found; });
    });
    return found;
}

/// The lane in whose cache it lies, or 0.
lane_id cache_with(const mempool_layout& pool, std::uint64_t handle)
{
    for (lane_id lane = 1; lane != max_lanes; ++lane) {
        const auto& cache = pool.cache(lane);
        const auto length =
            std::min(cache.length.load(std::memory_order_acquire), 2 * pool.flush_threshold);
        for (std::uint32_t i = 0; i != length; ++i)
            if (peek_cached(cache, i) == handle)
                return lane;
    }
    return 0;
}

/// By its words alone: it is in no ring and no cache.
void describe_held(const audited_region& region, const mempool_layout& pool, std::uint32_t object,
                   whereabouts& found)
{
    const auto word = custody_of(pool, object);
    const auto holder = custody::member_of(word);
    if (is_kept_by_clones(pool, object))
        found.where = spot::shared;
    else if (custody::is_follower(word))
        found.where = spot::follower;
    else if (holder == custody::device) {
        found.where = spot::device;
        if (custody::ring_of(word) < region.memory.zone_count)
            found.name = region.memory.zones[custody::ring_of(word)].name.view();
    } else if (holder == custody::kept)
        found.where = spot::kept;
    else if (holder == custody::waiting || holder == custody::waiting_external)
        found.where = spot::waiting;
    else {
        found.member = holder;
        found.where = !holder_lives(region.members, word) ? spot::lost
                      : custody::is_received(word)        ? spot::received
                                                          : spot::held;
        const auto ring = custody::ring_of(word);
        if (found.where == spot::received && ring < region.memory.zone_count)
            found.name = region.memory.zones[ring].name.view();
    }
}

}  // namespace

whereabouts find(const audited_region& region, std::uint64_t handle)
{
    object_views views{region.memory};
    const auto object = views.find(handle);
    whereabouts found;
    if (!object.view)
        return found;
    const auto& pool = *object.view->pool;
    found.pool = object.view->zone->name.view();
    if (const auto* zone = ring_with(views, handle)) {
        found.where = zone == object.view->zone ? spot::pool : spot::ring;
        found.name = zone->name.view();
    } else if (const auto lane = cache_with(pool, handle)) {
        found.where = spot::cache;
        found.lane = lane;
        found.member = region.members.lanes[lane].word().member;
    } else {
        describe_held(region, pool, object.index, found);
    }
    return found;
}

std::string whereabouts::text() const
{
    switch (where) {
    case spot::unknown: return "no object of a pool";
    case spot::pool: return fmt::format("in its pool \"{}\"", pool);
    case spot::cache: return fmt::format("in the cache of lane {}, of member {}", lane, member);
    case spot::ring: return fmt::format("in the ring \"{}\"", name);
    case spot::held: return fmt::format("held by member {}", member);
    case spot::received: return fmt::format("received by member {} from \"{}\"", member, name);
    case spot::follower: return "behind the head of a chain";
    case spot::shared: return "kept by clones alone";
    case spot::device: return fmt::format("at the device of port \"{}\"", name);
    case spot::kept: return "kept by the domain";
    case spot::waiting: return "waiting for who can take it";
    case spot::lost: return fmt::format("lost with member {}, which is being reaped", member);
    }
    return {};
}

}  // namespace cohort
