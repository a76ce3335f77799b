#include "cohort/base/fault_point.hpp"
#include "cohort/memory/heap_blocks.hpp"
#include "heap_guard.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace cohort {
namespace {

/// What the chain says. It is the truth; a heap's own counters must agree.
struct tally {
    std::uint64_t arenas = 0;
    std::uint64_t free_arenas = 0;
    std::uint64_t bytes = 0;
    std::uint64_t used_bytes = 0;
    std::uint64_t used_blocks = 0;
    std::uint64_t free_blocks = 0;
    std::uint64_t mortal_blocks = 0;

    void count(const block_word& word) noexcept
    {
        if (word.is_free()) {
            ++free_blocks;
            return;
        }
        ++used_blocks;
        used_bytes += word.units * heap_unit_bytes;
        mortal_blocks += (word.flags & block_word::mortal) != 0;
    }

    void store_in(heap_counters& counters) const noexcept
    {
        counters.arenas.store(arenas, std::memory_order_relaxed);                // locked
        counters.free_arenas.store(free_arenas, std::memory_order_relaxed);      // locked
        counters.bytes.store(bytes, std::memory_order_relaxed);                  // locked
        counters.used_bytes.store(used_bytes, std::memory_order_relaxed);        // locked
        counters.used_blocks.store(used_blocks, std::memory_order_relaxed);      // locked
        counters.free_blocks.store(free_blocks, std::memory_order_relaxed);      // locked
        counters.mortal_blocks.store(mortal_blocks, std::memory_order_relaxed);  // locked
    }

    [[nodiscard]] bool agrees_with(const heap_counters& counters) const noexcept
    {
        const auto same = [](std::uint64_t counted, const std::atomic<std::uint64_t>& stored) {
            return counted == stored.load(std::memory_order_relaxed);  // locked
        };
        return same(arenas, counters.arenas) && same(free_arenas, counters.free_arenas) &&
               same(bytes, counters.bytes) && same(used_bytes, counters.used_bytes) &&
               same(used_blocks, counters.used_blocks) && same(free_blocks, counters.free_blocks) &&
               same(mortal_blocks, counters.mortal_blocks);
    }
};

}  // namespace

/// Bins, `free_before` and counters anew from the chains.
void heap_blocks::rebuild() noexcept
{
    COHORT_FAULT_POINT("heap.rebuilding");
    std::fill(std::begin(heap_.bins), std::end(heap_.bins), nullptr);
    std::fill(std::begin(heap_.filled), std::end(heap_.filled), std::uint64_t{0});
    tally found;
    for_each_arena(memory_.layout(), heap_, [&](heap_arena_layout& arena) {
        ++found.arenas;
        found.bytes += arena.units * heap_unit_bytes;
        std::uint32_t before = 0;
        heap_block* last = arena.first();
        for_each_block(arena, [&](heap_block& block, block_word word) {
            found.count(word);
            block.free_before.store(before, std::memory_order_relaxed);  // locked
            before = word.is_free() ? word.units : 0;
            if (word.is_free())
                link(&block, word.units);
            last = block.after(word.units);
        });
        last->free_before.store(before, std::memory_order_relaxed);  // locked
        found.free_arenas += before == arena.units;
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
    if (heap_.counters.mortal_blocks.load(std::memory_order_relaxed) == 0)  // its own blocks count
        return true;
    std::vector<memzone_layout*> given_back;
    {
        const guard held{*this, who};
        if (!held.held())
            return false;
        for_each_arena(memory_.layout(), heap_, [&](heap_arena_layout& arena) {
            // A freed neighbour's header stays as it was, so the walk goes on across merges.
            for_each_block(arena, [&](heap_block& block, block_word word) {
                const bool theirs =
                    (word.flags & block_word::mortal) != 0 &&
                    block.owner.load(std::memory_order_relaxed) == dead &&  // locked
                    word.owner_generation == static_cast<std::uint16_t>(generation);
                if (!theirs)
                    return;
                COHORT_FAULT_POINT("heap.burying");
                if (auto* zone = free_locked(&block, who))
                    given_back.push_back(zone);
            });
        });
    }
    for (auto* zone : given_back)
        memory_.release(*zone);
    return true;
}

std::uint16_t heap_blocks::type(std::string_view name, actor who) noexcept
{
    if (!fixed_name<32>::fits(name))
        return 0;
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

std::optional<std::string> heap_blocks::find_fault(actor who)
{
    const guard held{*this, who};
    if (!held.held())
        return stalled().sentence;
    std::optional<std::string> fault;
    const auto report = [&](std::string text) {
        if (!fault)
            fault = std::move(text);
    };
    tally found;
    for_each_arena(memory_.layout(), heap_, [&](heap_arena_layout& arena) {
        ++found.arenas;
        found.bytes += arena.units * heap_unit_bytes;
        std::uint32_t before = 0;
        heap_block* last = arena.first();
        const auto check_before = [&](heap_block& block) {
            if (block.free_before.load(std::memory_order_relaxed) != before)  // locked
                report(fmt::format("block {}: the free block before it has {} units, not {}",
                                   fmt::ptr(&block), before, block.free_before.load()));
        };
        const bool whole = for_each_block(arena, [&](heap_block& block, block_word word) {
            found.count(word);
            check_before(block);
            if (word.is_free() && before != 0)
                report(
                    fmt::format("block {} and the one before it are both free", fmt::ptr(&block)));
            before = word.is_free() ? word.units : 0;
            last = block.after(word.units);
        });
        if (!whole)
            report(fmt::format("the chain of the arena at {} is broken at {}", fmt::ptr(&arena),
                               fmt::ptr(last)));
        else
            check_before(*last);
        found.free_arenas += before == arena.units;
    });
    std::uint64_t binned = 0;
    for (std::size_t bin = 0; bin != heap_bins; ++bin) {
        const heap_block* previous = nullptr;
        for (auto* block = heap_.bins[bin]; block; block = block->in_bin().next) {
            const auto word = block->load();
            if (!word.is_free() || bin_of(word.units) != bin ||
                block->in_bin().previous != previous)
                report(fmt::format("block {} does not belong into bin {}", fmt::ptr(block), bin));
            if (fault)
                return fault;
            previous = block;
            ++binned;
        }
        if ((heap_.filled[bin / 64] >> bin % 64 & 1) != (heap_.bins[bin] != nullptr))
            report(fmt::format("the bit of bin {} is wrong", bin));
    }
    if (binned != found.free_blocks)
        report(fmt::format("{} free blocks are in the chains and {} in the bins", found.free_blocks,
                           binned));
    if (!found.agrees_with(heap_.counters))
        report("the counters disagree with the chains");
    return fault;
}

}  // namespace cohort
