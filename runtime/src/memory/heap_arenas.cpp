// Arenas come from the memseg lists and go back to them.

#include "cohort/base/fault_point.hpp"
#include "cohort/memory/heap_blocks.hpp"
#include "heap_fit.hpp"
#include "heap_guard.hpp"

#include <new>

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr std::uint64_t usual_arena_bytes = 4_MiB;

}  // namespace

memzone_layout& heap_blocks::reserve_arena(std::uint64_t least_bytes, actor who)
{
    const auto name = fmt::format("heap.{}.{}", heap_.index,
                                  heap_.arena_ids.fetch_add(1, std::memory_order_relaxed));
    zone_request request{.name = name,
                         .kind = zone_kind::heap_arena,
                         .bytes = std::max(usual_arena_bytes, least_bytes),
                         .numa_node = heap_.numa_node,
                         .zeroed = false,
                         .parent = heap_.index};
    try {
        return memory_.reserve(request, who);
    } catch (const error& refused) {
        if (refused.reason() == errc::stalled || request.bytes == least_bytes)
            throw;
    }
    request.bytes = least_bytes;
    return memory_.reserve(request, who);
}

/// In memory that nobody else uses yet: one free block.
heap_arena_layout& heap_blocks::construct_arena(const memzone_layout& zone) const noexcept
{
    auto& arena = *::new (zone.data()) heap_arena_layout;
    arena.heap = heap_.index;
    arena.zone = static_cast<std::uint32_t>(memory_.index_of(zone));
    arena.units = (zone.length - heap_arena_overhead) / heap_unit_bytes;
    const auto free_units = static_cast<std::uint32_t>(arena.units);
    auto* end = ::new (arena.first()->after(free_units)) heap_block;
    *static_cast<heap_arena_layout**>(end->payload()) = &arena;
    end->store(0, block_word::end);
    end->free_before.store(free_units, std::memory_order_relaxed);  // PUBLISHED with the zone
    ::new (arena.first()) heap_block;
    arena.first()->store(free_units, 0);
    return arena;
}

/// One free block from the first byte to the end mark.
void heap_blocks::add_arena(heap_arena_layout& arena) noexcept
{
    const auto units = static_cast<std::uint32_t>(arena.units);
    link(arena.first(), units);
    add(heap_.counters.arenas, 1);
    add(heap_.counters.free_arenas, 1);
    add(heap_.counters.free_blocks, 1);
    add(heap_.counters.bytes, bytes_of(units));
}

heap_answer heap_blocks::grow(std::uint32_t units, const heap_request& wanted, actor who,
                              std::uint32_t generation)
{
    memzone_layout* zone = nullptr;
    try {
        const auto enough = with_slack(units, wanted) * heap_unit_bytes + heap_arena_overhead;
        zone = &reserve_arena(align_up(enough, cache_line_bytes), who);
    } catch (const error& refused) {
        return {nullptr, refused.reason(), refused.what()};
    }
    auto& arena = construct_arena(*zone);
    COHORT_FAULT_POINT("heap.grown");

    const guard held{*this, who};
    if (!held.held()) {
        memory_.release(*zone);
        return refusal(held);
    }
    memory_.publish(*zone, who);  // killed from here on, the arena belongs to the heap
    add_arena(arena);
    COHORT_FAULT_POINT("heap.arena_listed");
    return {use({arena.first(),
                 front_of(reinterpret_cast<std::uintptr_t>(arena.first()), wanted.bytes, wanted),
                 units},
                wanted, who.member, generation)};
}

/// One arena may be wholly free, so that a block at the edge does not make and unmake arenas. What
/// users brought stays until they remove it.
void heap_blocks::shrink(heap_block* whole, heap_block* end, actor who) noexcept
{
    auto& arena = *heap_arena_layout::ended_by(end);
    if (whole != arena.first())
        return;
    add(heap_.counters.free_arenas, 1);
    if (heap_.external == 0 && !walking_ &&
        heap_.counters.free_arenas.load(std::memory_order_relaxed) > 1)  // locked
        let_go(arena, who);
}

/// Takes an arena that is one free block out of the bins and the counters.
void heap_blocks::unlist(heap_arena_layout& arena) noexcept
{
    const auto units = static_cast<std::uint32_t>(arena.units);
    unlink(arena.first(), units);
    add(heap_.counters.arenas, ~std::uint64_t{0});
    add(heap_.counters.free_arenas, ~std::uint64_t{0});
    add(heap_.counters.free_blocks, ~std::uint64_t{0});
    add(heap_.counters.bytes, ~bytes_of(units) + 1);
}

/// Gives an arena that is one free block back to its list. From here on its memory is somebody
/// else's, or gone.
void heap_blocks::let_go(heap_arena_layout& arena, actor who) noexcept
{
    unlist(arena);
    auto& zone = memory_.layout().zones[arena.zone % memory_.layout().zone_count];
    COHORT_FAULT_POINT("heap.shrinking");
    if (memory_.begin_release(zone, who))
        memory_.release(zone);
    arena_left_ = true;
}

/// What a walk along the chains has put off.
void heap_blocks::let_go_of_empty(actor who) noexcept
{
    if (heap_.external != 0)
        return;
    for_each_arena(memory_.layout(), heap_, who.member, [&](heap_arena_layout& arena) {
        const auto first = arena.first()->load();
        if (heap_.counters.free_arenas.load(std::memory_order_relaxed) > 1 &&  // locked
            first.is_free() && first.units == arena.units)
            let_go(arena, who);
    });
}

}  // namespace cohort
