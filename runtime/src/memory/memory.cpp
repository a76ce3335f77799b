#include "cohort/memory/memory.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/memory/cgroup.hpp"
#include "cohort/memory/segment_file.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr auto lock_patience = 5s;

std::size_t home_of(zone_kind kind, std::string_view name) noexcept
{
    const auto seed = static_cast<std::uint64_t>(kind) * 0x9e3779b97f4a7c15u;
    return fnv1a(name.data(), name.size(), seed) % max_zones;
}

bool ever_used(zone_word word) noexcept
{
    return word.generation != 0;
}

/// Holds the memory lock for a scope.
class memory_guard {
public:
    memory_guard(owner_lock& lock, lane_id me, const liveness_view& lanes) : lock_{lock}
    {
        const auto ask = [&](lane_id lane) { return lanes.is_dead(lane); };
        // taken_over needs no repair: nothing the lock guards spans two stores.
        if (lock_.lock(me, deadline_in(lock_patience), ask) == lock_result::stalled)
            throw error{
                errc::stalled,
                fmt::format("the memory lock is held by live lane {} for more than {} s; see "
                            "\"cohort lanes\"",
                            lock_.holder(), lock_patience.count())};
    }
    ~memory_guard() { lock_.unlock(); }
    memory_guard(const memory_guard&) = delete;
    memory_guard& operator=(const memory_guard&) = delete;

private:
    owner_lock& lock_;
};

}  // namespace

memory::memory(memory_layout& layout, const files& segment_files, liveness_view lanes) noexcept
    : layout_{layout}
    , files_{segment_files}
    , lanes_{lanes}
{
}

void memory::check(const zone_request& request) const
{
    if (request.name.empty())
        throw error{errc::invalid_argument, "a name must have at least one character"};
    if (!fixed_name<32>::fits(request.name))
        throw error{errc::name_too_long,
                    fmt::format("the name \"{}\" has {} characters; at most {} fit", request.name,
                                request.name.size(), fixed_name<32>::max_length)};
    if (!std::has_single_bit(request.alignment) || request.alignment < cache_line_bytes)
        throw error{errc::invalid_argument,
                    fmt::format("the alignment {} of \"{}\" must be a power of two of at least {}",
                                request.alignment, request.name, cache_line_bytes)};
    if (request.boundary != 0 &&
        (!std::has_single_bit(request.boundary) || request.bytes > request.boundary))
        throw error{errc::invalid_argument,
                    fmt::format("the boundary {} of \"{}\" must be a power of two not below its "
                                "length {}",
                                request.boundary, request.name, request.bytes)};
}

memzone_layout* memory::find(zone_kind kind, std::string_view name) const noexcept
{
    const auto home = home_of(kind, name);
    for (std::size_t probe = 0; probe != max_zones; ++probe) {
        auto& zone = layout_.zones[(home + probe) % max_zones];
        const auto word = zone.word();
        if (!ever_used(word))
            return nullptr;
        // The second look proves that kind and name were not rewritten between.
        if (word.state == zone_state::live && zone.kind == kind && zone.name == name &&
            zone.state.load(std::memory_order_acquire) == word.pack())
            return &zone;
    }
    return nullptr;
}

memzone_layout& memory::free_entry(const zone_request& request) const
{
    memzone_layout* candidate = nullptr;
    const auto home = home_of(request.kind, request.name);
    for (std::size_t probe = 0; probe != max_zones; ++probe) {
        auto& zone = layout_.zones[(home + probe) % max_zones];
        const auto word = zone.word();
        if (word.state == zone_state::empty) {
            if (!candidate)
                candidate = &zone;
            if (!ever_used(word))
                break;
        } else if (zone.kind == request.kind && zone.name == request.name) {
            throw error{errc::exists, fmt::format("the name \"{}\" exists already", request.name)};
        }
    }
    if (!candidate)
        throw error{errc::no_space, fmt::format("no entry is left for \"{}\": all {} are in use",
                                                request.name, max_zones)};
    return *candidate;
}

std::optional<memory::span> memory::fit(std::size_t list, const zone_request& request,
                                        std::uint64_t limit) const
{
    struct taken {
        std::uint64_t from;
        std::uint64_t to;
    };
    const auto& segments = layout_.lists[list];
    std::vector<taken> used;
    for_each_used(layout_, [&](const auto& zone) {
        if (zone.word().state != zone_state::empty && zone.list == list)
            used.push_back({zone.address, zone.address + zone.length});
    });
    std::sort(used.begin(), used.end(), [](auto a, auto b) { return a.from < b.from; });
    used.push_back({segments.base + limit, 0});

    std::optional<span> best;  // the tightest gap that fits, or the largest for length 0
    std::uint64_t best_gap = 0;
    auto gap_start = segments.base;
    for (const auto& next : used) {
        auto from = align_up(gap_start, request.alignment);
        auto room = next.from > from ? next.from - from : 0;
        auto length = align_up(std::uint64_t{request.bytes}, cache_line_bytes);
        if (request.boundary != 0 && length > 0 &&
            align_down(from, request.boundary) != align_down(from + length - 1, request.boundary)) {
            from = align_up(from, request.boundary);
            room = next.from > from ? next.from - from : 0;
        }
        if (request.bytes == 0) {
            length = align_down(room, cache_line_bytes);
            if (request.boundary != 0)
                length =
                    std::min(length, align_down(from, request.boundary) + request.boundary - from);
        }
        const bool better = request.bytes == 0 ? length > best_gap : !best || room < best_gap;
        if (length != 0 && room >= length && better) {
            best = span{list, from, length};
            best_gap = request.bytes == 0 ? length : room;
        }
        gap_start = std::max(gap_start, next.to);
    }
    return best;
}

std::optional<memory::span> memory::place_in_pages(const zone_request& request,
                                                   std::optional<page_size> pages)
{
    std::optional<span> largest;
    for (std::size_t i = 0; i != max_memseg_lists; ++i) {
        const auto& list = layout_.lists[i];
        if (list.page_bytes == 0 || (pages && bytes(*pages) != list.page_bytes) ||
            (request.numa_node != any_numa_node && request.numa_node != list.numa_node))
            continue;
        const auto found =
            fit(i, request, list.committed.load(std::memory_order_relaxed));  // locked
        if (found && request.bytes != 0)
            return found;
        if (found && (!largest || found->length > largest->length))
            largest = found;
    }
    return largest;
}

std::optional<memory::span> memory::place_by_growth(const zone_request& request,
                                                    std::optional<page_size> pages)
{
    for (std::size_t i = 0; i != max_memseg_lists && request.bytes != 0; ++i) {
        auto& list = layout_.lists[i];
        if (list.page_bytes == 0 || (pages && bytes(*pages) != list.page_bytes) ||
            (request.numa_node != any_numa_node && request.numa_node != list.numa_node))
            continue;
        const auto found = fit(i, request, list.max_bytes);
        if (!found)
            continue;
        const auto committed = list.committed.load(std::memory_order_relaxed);  // locked
        const auto wanted = align_up(found->address + found->length - list.base, list.page_bytes);
        const page_size size{list.page_bytes};
        if (size != page_size::small && wanted - committed > obtainable_bytes(size))
            continue;  // another list may have room
        commit_pages(files_[i].get(), size, committed, wanted - committed, list.numa_node);
        COHORT_FAULT_POINT("memory.grown");
        list.committed.store(wanted, std::memory_order_release);  // GROWN
        return found;
    }
    return std::nullopt;
}

memory::span memory::place(const zone_request& request)
{
    auto found = place_in_pages(request, request.pages);
    if (!found)
        found = place_by_growth(request, request.pages);
    if (!found && request.pages && request.pages_hint_only)
        found = place_in_pages(request, std::nullopt);
    if (!found && request.pages && request.pages_hint_only)
        found = place_by_growth(request, std::nullopt);
    if (!found)
        throw error{errc::no_memory,
                    fmt::format("no span of {} is free for \"{}\" on the pages and node asked for; "
                                "start the primary with more --memory",
                                bytes_text(request.bytes), request.name)};
    return *found;
}

memzone_layout& memory::reserve(const zone_request& request, actor who)
{
    check(request);
    memzone_layout* zone = nullptr;
    bool dirty = false;
    {
        const memory_guard guard{layout_.lock, who.lane, lanes_};
        zone = &free_entry(request);
        const auto where = place(request);
        COHORT_FAULT_POINT("memory.placed");
        auto& list = layout_.lists[where.list];
        const auto end = where.address + where.length - list.base;
        const auto high = list.high_water.load(std::memory_order_relaxed);  // locked
        dirty = where.address - list.base < high;
        list.high_water.store(std::max(high, end), std::memory_order_relaxed);  // locked

        zone->kind = request.kind;
        zone->list = static_cast<std::uint16_t>(where.list);
        zone->creator = who.member;
        zone->address = where.address;
        zone->length = where.length;
        zone->created_ns = monotonic_ns();
        zone->name = fixed_name<32>{request.name};
        COHORT_FAULT_POINT("memory.described");
        const auto entry = index_of(*zone);
        layout_.ever_used[entry / 64].fetch_or(std::uint64_t{1} << entry % 64,
                                               std::memory_order_release);  // USED
        const auto generation = zone->word().generation + 1;
        zone->state.store(zone_word{generation, who.member, zone_state::init}.pack(),
                          std::memory_order_release);
        COHORT_FAULT_POINT("memory.init");
    }
    if (dirty && request.zeroed)
        std::memset(zone->data(), 0, zone->length);
    return *zone;
}

memzone_layout& memory::reserve_external(const external_span& wanted, actor who)
{
    const memory_guard guard{layout_.lock, who.lane, lanes_};
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
    auto& zone = free_entry({.name = wanted.name, .kind = zone_kind::heap_arena});
    zone.kind = zone_kind::heap_arena;
    zone.list = external_list;
    zone.creator = who.member;
    zone.address = wanted.address;
    zone.length = wanted.length;
    zone.created_ns = monotonic_ns();
    zone.name = fixed_name<32>{wanted.name};
    zone.heap = wanted.heap;
    zone.attached.store(std::uint64_t{1} << who.member, std::memory_order_relaxed);  // with INIT
    const auto entry = index_of(zone);
    layout_.ever_used[entry / 64].fetch_or(std::uint64_t{1} << entry % 64,
                                           std::memory_order_release);  // USED
    const auto generation = zone.word().generation + 1;
    zone.state.store(zone_word{generation, who.member, zone_state::init}.pack(),
                     std::memory_order_release);
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

std::size_t memory::undo_of(member_id dead) noexcept
{
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

memory::usage memory::usage_of(std::size_t list) const noexcept
{
    usage total{layout_.lists[list].committed.load(std::memory_order_relaxed), 0};  // for display
    for_each_used(layout_, [&](const auto& zone) {
        if (zone.word().state != zone_state::empty && zone.list == list)
            total.used += zone.length;
    });
    return total;
}

}  // namespace cohort
