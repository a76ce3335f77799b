#include "cohort/base/fault_point.hpp"
#include "cohort/memory/heap_blocks.hpp"
#include "heap_guard.hpp"
#include "heap_tally.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort {
/// Bins, `free_before` and counters anew from the chains. Free blocks in a row become one, and what
/// was put aside is free.
void heap_blocks::rebuild(member_id viewer) noexcept
{
    COHORT_FAULT_POINT("heap.rebuilding");
    std::fill(std::begin(heap_.bins), std::end(heap_.bins), nullptr);
    std::fill(std::begin(heap_.filled), std::end(heap_.filled), std::uint64_t{0});
    std::fill(std::begin(heap_.aside), std::end(heap_.aside), nullptr);
    std::fill(std::begin(heap_.aside_count), std::end(heap_.aside_count), 0u);
    heap_tally found;
    for_each_arena(memory_.layout(), heap_, viewer, [&](heap_arena_layout& arena) {
        ++found.arenas;
        found.bytes += arena.units * heap_unit_bytes;
        heap_block* run = nullptr;  // free blocks in a row, not yet one
        std::uint32_t run_units = 0;
        const auto end_run = [&](heap_block& next) {
            if (run) {
                run->store(run_units, 0);
                link(run, run_units);
                found.count(run->load());
            }
            next.free_before.store(run ? run_units : 0, std::memory_order_relaxed);  // locked
            run = nullptr;
        };
        heap_block* last = arena.first();
        for_each_block(arena, [&](heap_block& block, block_word word) {
            last = block.after(word.units);
            if (word.is_used()) {
                end_run(block);
                found.count(word);
                return;
            }
            if (!run) {
                block.free_before.store(0, std::memory_order_relaxed);  // locked
                run = &block;
                run_units = 0;
            }
            run_units += word.units;
        });
        found.free_arenas += run == arena.first();
        end_run(*last);
    });
    found.store_in(heap_.counters);
    heap_.repairs.fetch_add(1, std::memory_order_relaxed);  // a count
    COHORT_FAULT_POINT("heap.rebuilt");
}

void heap_blocks::repair_after(lane_id dead, actor who) noexcept
{
    if (heap_.lock.holder() == dead)
        const guard held{*this, who, dead};
}

bool heap_blocks::release_mortal(member_id dead, std::uint32_t generation, actor who) noexcept
{
    // Raised before a block is one, lowered after it is none: 0 is the truth without the lock.
    if (heap_.counters.mortal_blocks.load(std::memory_order_acquire) == 0)
        return true;
    {
        const guard held{*this, who, lane_id{0}};
        if (held.held()) {
            bury(dead, generation, who);
            return true;
        }
        if (!held.lacks_memory())
            return false;
    }
    return owe(dead, generation, who);
}

/// Frees what was to go with this member, of this generation of its slot or an earlier one: those
/// are dead too, and what they left was owed.
void heap_blocks::bury(member_id dead, std::uint32_t generation, actor who) noexcept
{
    // What is merged keeps its header as it was, so the walk goes on across it. Arenas are given
    // back after it: pages that are gone must not be read.
    walking_ = true;
    for_each_arena(memory_.layout(), heap_, who.member, [&](heap_arena_layout& arena) {
        for_each_block(arena, [&](heap_block& block, block_word word) {
            const bool theirs = (word.flags & block_word::mortal) != 0 &&
                                block.owner.load(std::memory_order_relaxed) == dead &&  // locked
                                static_cast<std::int16_t>(generation - word.owner_generation) >= 0;
            if (theirs) {
                COHORT_FAULT_POINT("heap.burying");
                free_locked(&block, who);
            }
        });
    });
    walking_ = false;
    let_go_of_empty(who);
}

std::uint16_t heap_blocks::type(std::string_view name, actor who) noexcept
{
    if (!fixed_name<32>::fits(name))
        return 0;
    if (heap_.names_of != heap_.index) {
        auto& names = const_cast<heap_layout&>(names_of(memory_.layout(), heap_));
        return heap_blocks{names, memory_}.type(name, who);
    }
    const guard held{*this, who};
    if (!held.held())
        return 0;
    const auto count = heap_.type_count.load(std::memory_order_relaxed);  // locked
    for (std::uint32_t i = 0; i != count; ++i)
        if (heap_.types[i + 1] == name)
            return static_cast<std::uint16_t>(i + 1);
    if (count + 1 == max_heap_types)
        return 0;
    heap_.types[count + 1] = fixed_name<32>{name};
    heap_.type_count.store(count + 1, std::memory_order_release);  // NAMED
    return static_cast<std::uint16_t>(count + 1);
}

}  // namespace cohort
