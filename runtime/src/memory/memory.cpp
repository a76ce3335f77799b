#include "cohort/memory/memory.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/memory/memseg_walk.hpp"
#include "memory_guard.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

namespace cohort {
namespace {

std::size_t hash_of(zone_kind kind, std::string_view name) noexcept
{
    const auto seed = static_cast<std::uint64_t>(kind) * 0x9e3779b97f4a7c15u;
    return fnv1a(name.data(), name.size(), seed);
}

bool ever_used(zone_word word) noexcept
{
    return word.generation != 0;
}

}  // namespace

memory::memory(memory_layout& layout, const files& segment_files, liveness_view lanes) noexcept
    : layout_{layout}
    , files_{segment_files}
    , lanes_{lanes}
    , supply_{layout, segment_files, numa_of(layout.emulated_nodes), &watch_}
{
}

/// As rte_memzone_reserve_bounded has it: whole cache lines, and 0 bytes with a boundary are as
/// many as that.
zone_request memory::checked(zone_request request)
{
    if (request.name.empty())
        throw error{errc::invalid_argument, "a name must have at least one character"};
    if (!fixed_name<32>::fits(request.name))
        throw error{errc::name_too_long,
                    fmt::format("the name \"{}\" has {} characters; at most {} fit", request.name,
                                request.name.size(), fixed_name<32>::max_length)};
    if (request.alignment != 0 && !std::has_single_bit(request.alignment))
        throw error{errc::invalid_argument,
                    fmt::format("the alignment {} of \"{}\" must be a power of two",
                                request.alignment, request.name)};
    request.alignment = std::max(request.alignment, cache_line_bytes);
    const auto least = std::max(align_up(request.bytes, cache_line_bytes), cache_line_bytes);
    if (request.boundary != 0 &&
        (!std::has_single_bit(request.boundary) || least > request.boundary))
        throw error{errc::invalid_argument,
                    fmt::format("the boundary {} of \"{}\" must be a power of two not below the {} "
                                "bytes that it takes",
                                request.boundary, request.name, least)};
    if (request.bytes == 0)
        request.bytes = request.boundary;
    if (request.numa_node < any_numa_node)
        throw error{errc::invalid_argument,
                    fmt::format("there is no node {} for \"{}\"; name one from 0 on, or any",
                                request.numa_node, request.name)};
    return request;
}

memzone_layout* memory::find(zone_kind kind, std::string_view name) const noexcept
{
    const auto home = hash_of(kind, name) % layout_.zone_count;
    for (std::size_t probe = 0; probe != layout_.zone_count; ++probe) {
        auto& zone = layout_.zones[(home + probe) % layout_.zone_count];
        const auto word = zone.word();
        if (!ever_used(word))
            return nullptr;
        // The second look proves that kind and name were not rewritten between.
        if (word.state != zone_state::live || zone.kind.load(std::memory_order_acquire) != kind)
            continue;
        const auto seen = zone.name.peek();
        if (seen == name && zone.word() == word)
            return &zone;
    }
    return nullptr;
}

memzone_layout& memory::free_entry(const zone_request& request) const
{
    memzone_layout* candidate = nullptr;
    const auto home = hash_of(request.kind, request.name) % layout_.zone_count;
    for (std::size_t probe = 0; probe != layout_.zone_count; ++probe) {
        auto& zone = layout_.zones[(home + probe) % layout_.zone_count];
        const auto word = zone.word();
        if (word.state == zone_state::empty) {
            if (!candidate)
                candidate = &zone;
            if (!ever_used(word))
                break;
        } else if (zone.kind == request.kind && zone.name == request.name) {
            throw error{
                errc::exists,
                fmt::format("a {} of the name \"{}\" exists already, made by member {}; find "
                            "it, or choose another name",
                            to_text(request.kind), request.name, zone.creator)};
        }
    }
    if (!candidate)
        throw error{errc::no_space,
                    fmt::format("no entry is left for \"{}\": all {} are in use; start the "
                                "primary with more --max-zones",
                                request.name, layout_.zone_count)};
    return *candidate;
}

memzone_layout& memory::reserve(const zone_request& wanted, actor who)
{
    const auto request = checked(wanted);
    memzone_layout* zone = nullptr;
    span where;
    std::vector<byte_range> dirty;
    {
        const guard held{*this, who};
        held.require();
        zone = &free_entry(request);
        where = place(request);
        COHORT_FAULT_POINT("memory.placed");
        if (request.zeroed)
            dirty = dirty_parts(where);
        raise_high_water(where);
        describe(*zone, request, where, who);
        open(*zone, who);
        COHORT_FAULT_POINT("memory.init");
    }
    tell(memory_event::kind::grown, where.list, where.fresh, who);
    for (const auto& part : dirty)
        std::memset(reinterpret_cast<void*>(part.from), 0, part.bytes());
    return *zone;
}

void memory::describe(memzone_layout& zone, const zone_request& request, const span& where,
                      actor who) noexcept
{
    zone.kind.store(request.kind, std::memory_order_release);
    zone.list = static_cast<std::uint16_t>(where.list);
    zone.creator = who.member;
    zone.address = where.address;
    zone.length = where.length;
    zone.flags = where.flags;
    zone.parent = request.parent;
    zone.attached.store(0, std::memory_order_relaxed);  // with INIT
    zone.created_ns = monotonic_ns();
    zone.name.replace(fixed_name<32>{request.name});
    COHORT_FAULT_POINT("memory.described");
}

/// Below it, memory is dirty for all that anybody knows.
void memory::raise_high_water(const span& where) noexcept
{
    auto& list = layout_.lists[where.list];
    const auto end = where.address + where.length - list.base;
    const auto high = list.high_water.load(std::memory_order_relaxed);      // locked
    list.high_water.store(std::max(high, end), std::memory_order_relaxed);  // locked
}

/// EMPTY -> INIT: from here on the entry counts.
void memory::open(memzone_layout& zone, actor who) noexcept
{
    const auto entry = index_of(zone);
    layout_.ever_used[entry / 64].fetch_or(std::uint64_t{1} << entry % 64,
                                           std::memory_order_release);  // USED
    const auto generation = zone.word().generation + 1;
    zone.state.store(zone_word{generation, who.member, zone_state::init}.pack(),
                     std::memory_order_release);
}

void memory::tell(memory_event::kind what, std::size_t index, std::span<const page_run> runs,
                  actor who) const noexcept
{
    const auto& list = layout_.lists[index];
    try {
        for (const auto run : runs) {
            const auto pages = page_map{list}.addresses(run);
            watch_.tell({.what = what,
                         .list = static_cast<std::uint32_t>(index),
                         .numa_node = list.numa_node,
                         .by_member = who.member,
                         .address = pages.from,
                         .bytes = pages.bytes(),
                         .page_bytes = list.page_bytes});
        }
    } catch (const std::exception&) {
        // A listener's own failure: what it was told of has happened all the same.
    }
}

memzone_layout& memory::reserve_external(const external_span& wanted, actor who)
{
    const guard held{*this, who};
    held.require();
    for_each_used(layout_, [&](const auto& other) {
        if (other.word().state != zone_state::empty &&
            wanted.address < other.address + other.length &&
            other.address < wanted.address + wanted.length)
            throw error{
                errc::exists,
                fmt::format("the memory at {:#x} with {} bytes overlaps \"{}\" at {:#x} with "
                            "{} bytes",
                            wanted.address, wanted.length, other.name.view(), other.address,
                            other.length)};
    });
    const zone_request request{
        .name = wanted.name, .kind = zone_kind::heap_arena, .parent = wanted.heap};
    auto& zone = free_entry(request);
    describe(zone, request, {external_list, wanted.address, wanted.length}, who);
    zone.attached.store(std::uint64_t{1} << who.member, std::memory_order_relaxed);  // with INIT
    open(zone, who);
    COHORT_FAULT_POINT("memory.init_external");
    return zone;
}

void memory::publish(memzone_layout& zone, actor who) noexcept
{
    const zone_word live{zone.word().generation, who.member, zone_state::live};
    zone.state.store(live.pack(), std::memory_order_release);  // PUBLISHED
    COHORT_FAULT_POINT("memory.published");
}

bool memory::begin_release(memzone_layout& zone, actor who) noexcept
{
    auto seen = zone.state.load(std::memory_order_acquire);
    const auto word = zone_word::unpack(seen);
    const zone_word dying{word.generation, who.member, zone_state::dying};
    return word.state == zone_state::live &&
           zone.state.compare_exchange_strong(seen, dying.pack(), std::memory_order_acq_rel);
}

void memory::release(memzone_layout& zone) noexcept
{
    COHORT_FAULT_POINT("memory.dying");
    zone.state.store(zone_word{zone.word().generation, 0, zone_state::empty}.pack(),
                     std::memory_order_release);
}

void memory::give_back_idle(actor who, idle_pages which) noexcept
{
    try {
        for (std::size_t i = 0; i != layout_.list_count; ++i) {
            std::vector<page_run> gone;
            if (const guard held{*this, who, deadline{}}; held.held()) {
                const auto used = used_ranges(layout_, i);
                const auto page_bytes = layout_.lists[i].page_bytes;
                const auto keep = which == idle_pages::all ? 0 : idle_bytes_kept(page_bytes);
                if (supply_.idle_bytes(i, used) > 2 * keep)
                    gone = supply_.give_back(i, used, keep);
            }
            tell(memory_event::kind::given_back, i, gone, who);
        }
    } catch (const std::exception&) {
        // Out of this process's own memory: the pages stay for now.
    }
}

void memory::repair_after(lane_id dead, actor who) noexcept
{
    if (layout_.lock.holder() == dead)
        const guard held{*this, who, dead};
}

bool memory::begin_stillness(actor who, deadline until) noexcept
{
    guard held{*this, who, until};
    return held.keep();
}

std::size_t memory::undo_of(member_id dead) noexcept
{
    layout_.event_listeners.fetch_and(~(std::uint64_t{1} << dead),
                                      std::memory_order_relaxed);  // a hint: who is sent news
    std::size_t undone = 0;
    for_each_used(layout_, [&](auto& zone) {
        auto seen = zone.state.load(std::memory_order_acquire);
        const auto word = zone_word::unpack(seen);
        const bool unfinished = word.state == zone_state::init || word.state == zone_state::dying;
        const zone_word empty{word.generation, 0, zone_state::empty};
        if (unfinished && word.member == dead &&
            zone.state.compare_exchange_strong(seen, empty.pack(), std::memory_order_acq_rel))
            ++undone;
    });
    return undone;
}

}  // namespace cohort
