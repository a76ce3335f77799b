#include "cohort/domain/domain.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/pool/pool_growth.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/recovery/buffer_recovery.hpp"
#include "cohort/recovery/device_buffers.hpp"
#include "cohort/recovery/reaper.hpp"
#include "entry_scopes.hpp"

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr auto leave_patience = 2s;

void check_ring_request(std::string_view name, std::uint32_t capacity, const ring_options& options)
{
    constexpr std::size_t longest = 28;  // as rte_ring
    if (name.size() > longest)
        throw error{errc::name_too_long,
                    fmt::format("the ring name \"{}\" has {} characters; at most {} fit", name,
                                name.size(), longest)};
    if (capacity == 0 || capacity > max_ring_capacity)
        throw error{errc::invalid_argument,
                    fmt::format("the ring \"{}\" asks for {} elements; 1 to {} are allowed", name,
                                capacity, max_ring_capacity)};
    if (options.stages > max_stages)
        throw error{errc::invalid_argument,
                    fmt::format("the ring \"{}\" asks for {} stages; 1 to {} are allowed", name,
                                options.stages, max_stages)};
    if (options.watermark > capacity)
        throw error{errc::invalid_argument,
                    fmt::format("the ring \"{}\" has {} elements and a watermark of {}; choose one "
                                "up to its capacity",
                                name, capacity, options.watermark)};
}

std::string_view text_of(publication how)
{
    switch (how) {
    case publication::by_height: return "stack";
    case publication::in_stages: return "staged ring";
    case publication::by_slot: return "ring of pointers";
    case publication::by_index: break;
    }
    return "ring of values";
}

}  // namespace

domain::domain(region_mapping region, member_ref self)
    : region_{std::move(region)}
    , memory_{region_.layout().memory, region_.files().segments,
              member_table{region_.layout().members}.liveness()}
    , membership_{region_.layout().header.window_base, region_.layout().header.window_bytes,
                  member_table{region_.layout().members}, self,
                  [this](lane_id lane) { leave_everything(lane); }}
    , node_heaps_{memory_, membership_}
{
    register_builtin_drivers();
}

domain::~domain()
{
    auto& table = membership_.members();
    const auto own = membership_.lane();
    bool others = false;
    table.for_each_lane_of(self().id, [&](lane_id id, lane_layout& lane, lane_word) {
        others = others || (id != own && lane.sentinel.is_held() && !lane.sentinel.owner_died());
    });
    if (others) {
        log(log_level::warning,
            "domain \"{}\" is closed while other threads are on its lanes: its memory stays mapped "
            "until they end",
            name());
        static_cast<void>(table.begin_death(self()));
        membership_.leave_lane();
        region_.abandon();
        return;
    }
    const bool settled = settle();
    membership_.leave_lane();
    COHORT_FAULT_POINT("member.settled");
    if (settled)
        table.finish_death(self());
    // Otherwise the slot stays DYING: without lanes and lock byte it is reaped like a dead
    // member's.
}

/// Gives back what this member holds. False when a stopped reaper is in the way, or memory is out.
bool domain::settle() noexcept
{
    try {
        reaper last_act{memory_, region_.layout().recovery, membership_};
        const auto until = deadline_in(leave_patience);
        while (last_act.leave() == reaper::outcome::busy)
            if (steady_clock::now() >= until)
                return false;
        return true;
    } catch (const std::exception& failure) {
        log(log_level::error, "domain \"{}\" cannot settle: {}", name(), failure.what());
        return false;
    }
}

/// What a lane owes before it is free for others.
void domain::leave_everything(lane_id lane) noexcept
{
    auto& layout = memory_.layout();
    for_each_live(layout, zone_kind::mempool, [&](auto& zone) {
        auto& pool = *static_cast<mempool_layout*>(zone.data());
        mempool{pool}.flush();
        // After a stalled flush the rest stays in this member's custody, for the lane's next user
        // may be of another member.
        pool.cache(lane).length.store(0, std::memory_order_release);
    });
    scrub_everywhere(layout, lane, lane);
}

std::string_view domain::name() const noexcept
{
    return region_.layout().header.name.view();
}

actor domain::who()
{
    const auto acting = membership_.who();
    if (acting.lane == 0)
        throw error{
            errc::no_space,
            fmt::format("this thread has no lane: all {} are in use; end a thread that uses the "
                        "domain (\"cohort lanes\" lists them)",
                        max_lanes - 1)};
    return acting;
}

bool domain::destroy(zone_kind kind, std::string_view name)
{
    auto* zone = memory_.find(kind, name);
    return zone && destroy(*zone);
}

void domain::refuse_device_memory(const memzone_layout& pool) const
{
    const auto user = find_device_user(memory_.layout(), pool);
    if (!user)
        return;
    throw error{errc::in_use,
                user->empty()
                    ? fmt::format("pool \"{}\" is not destroyed: the device of a port that is gone "
                                  "has not let go of its memory; end the domain",
                                  pool.name.view())
                    : fmt::format("pool \"{}\" is not destroyed: the device of port \"{}\" has its "
                                  "memory; destroy that port first",
                                  pool.name.view(), *user)};
}

bool domain::destroy(memzone_layout& zone)
{
    const auto acting = who();
    bool ours = false;
    std::vector<mbuf*> from_devices;
    {
        const recovery_lock_guard guard{region_.layout().recovery.lock, acting, membership_,
                                        zone.name.view()};
        if (zone.kind == zone_kind::mempool && zone.is_live())
            refuse_device_memory(zone);
        check_unused(zone);
        ours = memory_.begin_release(zone, acting);
        if (ours)
            await_leavers(zone, acting);
        if (ours) {
            COHORT_FAULT_POINT("domain.destroying");
            forget_dying_rings(memory_.layout(), acting.member);
            from_devices =
                take_back_from_devices(memory_.layout(), acting.member, membership_.holder());
            if (zone.kind == zone_kind::mempool)
                release_chunks(memory_, zone, acting);
            memory_.release(zone);
        }
    }
    free_bulk(from_devices);
    if (ours)
        memory_.give_back_idle(acting);
    return ours;
}

/// Behind a leaver that is stopped the entry becomes LIVE again.
void domain::await_leavers(memzone_layout& zone, actor acting)
{
    const auto leaver =
        membership_.members().await_leavers(deadline_in(recovery_lock_guard::patience));
    if (leaver == 0)
        return;
    memory_.publish(zone, acting);
    throw error{errc::stalled,
                fmt::format("\"{}\" is not destroyed: lane {} has been leaving for more than {} s; "
                            "see \"cohort lanes\"",
                            zone.name.view(), leaver, recovery_lock_guard::patience.count())};
}

ring_layout& domain::create_ring_layout(std::string_view name, std::uint32_t capacity,
                                        std::uint32_t element_bytes, publication how,
                                        std::int32_t custody_offset, const ring_options& options)
{
    check_ring_request(name, capacity, options);
    new_entry entry{
        memory_,
        {.name = name,
         .kind = zone_kind::ring,
         .bytes = ring_bytes(capacity, element_bytes, how) + stage_bytes(capacity, options.stages)},
        who()};
    auto& ring = construct_ring(entry.data(), capacity, element_bytes, how, custody_offset,
                                entry.index(), options);
    entry.publish();
    return ring;
}

ring_layout* domain::find_ring_layout(std::string_view name, std::uint32_t element_bytes,
                                      publication how)
{
    auto* zone = memory_.find(zone_kind::ring, name);
    if (!zone)
        return nullptr;
    auto& ring = *static_cast<ring_layout*>(zone->data());
    if (ring.element_bytes != element_bytes)
        throw error{
            errc::invalid_argument,
            fmt::format("ring \"{}\" holds elements of {} bytes, not of {}; find it as it was "
                        "created",
                        name, ring.element_bytes, element_bytes)};
    if (ring.published != how)
        throw error{errc::invalid_argument,
                    fmt::format("\"{}\" is a {}, not a {}; find it as it was created", name,
                                text_of(ring.published), text_of(how))};
    return &ring;
}

element_ring domain::create_element_ring(std::string_view name, std::uint32_t element_bytes,
                                         std::uint32_t capacity, const ring_options& options)
{
    if (element_bytes == 0 || element_bytes % 4 != 0 || element_bytes > max_element_bytes)
        throw error{errc::invalid_argument,
                    fmt::format("the ring \"{}\" asks for elements of {} bytes; a multiple of 4 up "
                                "to {} is allowed",
                                name, element_bytes, max_element_bytes)};
    return element_ring{create_ring_layout(name, capacity, element_bytes, publication::by_index,
                                           no_custody, options)};
}

std::optional<element_ring> domain::find_element_ring(std::string_view name)
{
    const auto* zone = memory_.find(zone_kind::ring, name);
    if (!zone)
        return std::nullopt;
    const auto bytes = static_cast<const ring_layout*>(zone->data())->element_bytes;
    auto* layout = find_ring_layout(name, bytes, publication::by_index);
    return layout ? std::optional{element_ring{*layout}} : std::nullopt;
}

bool domain::destroy_ring(std::string_view name)
{
    return destroy(zone_kind::ring, name);
}

memzone domain::reserve_memzone(std::string_view name, std::size_t bytes,
                                const memzone_options& options)
{
    new_entry entry{memory_,
                    {.name = name,
                     .bytes = bytes,
                     .alignment = options.alignment,
                     .boundary = options.boundary,
                     .pages = options.pages,
                     .pages_hint_only = options.pages_hint_only,
                     .numa_node = options.numa_node,
                     .node_hint_only = options.node_hint_only},
                    who()};
    return memzone{entry.publish()};
}

memzone domain::find_memzone(std::string_view name) const noexcept
{
    const auto* zone = memory_.find(zone_kind::memzone, name);
    return zone ? memzone{*zone} : memzone{};
}

bool domain::release_memzone(const memzone& zone)
{
    auto* entry = zone ? memory_.find(zone_kind::memzone, zone.name()) : nullptr;
    return entry && zone.is_of(*entry) && destroy(*entry);
}

bool domain::release_memzone(std::string_view name)
{
    return destroy(zone_kind::memzone, name);
}

cohort::heap domain::heap(int numa_node)
{
    const bool any = numa_node == any_numa_node;
    auto& first = node_heaps_.of(any ? 0 : numa_node);
    // With one node there is nothing to choose, and no call shall look.
    return {first, memory_, membership_, any && node_heaps_.count() > 1 ? &node_heaps_ : nullptr};
}

}  // namespace cohort
