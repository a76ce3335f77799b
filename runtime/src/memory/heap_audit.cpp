#include "cohort/memory/heap_blocks.hpp"
#include "heap_guard.hpp"
#include "heap_tally.hpp"

#include <fmt/format.h>

namespace cohort {
namespace {

/// The first thing that is wrong with a heap whose lock is held.
class examination {
public:
    examination(const heap_layout& heap, memory_layout& memory, member_id viewer)
        : heap_{heap}
        , memory_{memory}
        , viewer_{viewer}
    {
    }

    std::optional<std::string> run()
    {
        for_each_arena(memory_, heap_, viewer_, [&](heap_arena_layout& arena) { walk(arena); });
        look_at_memories();
        look_into_bins();
        look_aside();
        if (!found_.agrees_with(heap_.counters))
            report("the counters disagree with the chains");
        return fault_;
    }

private:
    void report(std::string text)
    {
        if (!fault_)
            fault_ = std::move(text);
    }

    void walk(heap_arena_layout& arena)
    {
        ++found_.arenas;
        found_.bytes += arena.units * heap_unit_bytes;
        std::uint32_t before = 0;
        heap_block* last = arena.first();
        const auto check_before = [&](const heap_block& block) {
            const auto said = block.free_before.load(std::memory_order_relaxed);  // locked
            if (said != before)
                report(fmt::format("block {}: the free block before it has {} units, not {}",
                                   fmt::ptr(&block), before, said));
        };
        const bool whole = for_each_block(arena, [&](heap_block& block, block_word word) {
            found_.count(word);
            check_before(block);
            const auto heap = block.heap.load(std::memory_order_relaxed);  // locked
            if (word.is_used() && heap != heap_.index)
                report(fmt::format("block {} names heap {}, not {}", fmt::ptr(&block), heap,
                                   heap_.index));
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
        found_.free_arenas += before == arena.units;
    }

    /// Each piece of external memory stands in one slot; nothing else does.
    void look_at_memories()
    {
        std::uint64_t listed = 0;
        const auto slots = heap_.memory_slots.load(std::memory_order_relaxed);  // locked
        for (std::uint32_t slot = 0; slot != slots; ++slot) {
            const auto entry = heap_.memories[slot].load(std::memory_order_relaxed);  // locked
            if (entry == 0)
                continue;
            ++listed;
            const auto& zone = memory_.zones[entry - 1];
            if (!zone.is_live() || !zone.is_external() || zone.parent != heap_.index)
                report(fmt::format("slot {} names entry {}, which is no memory of this heap", slot,
                                   entry - 1));
        }
        if (heap_.external != 0 && listed != found_.arenas)
            report(fmt::format("{} pieces of memory are listed and {} are there", listed,
                               found_.arenas));
    }

    void look_into_bins()
    {
        std::uint64_t binned = 0;
        for (std::size_t bin = 0; bin != heap_bins && !fault_; ++bin) {
            const heap_block* previous = nullptr;
            for (auto* block = heap_.bins[bin]; block && !fault_; block = block->in_bin().next) {
                const auto word = block->load();
                if (!word.is_free() || bin_of(word.units) != bin ||
                    block->in_bin().previous != previous)
                    report(
                        fmt::format("block {} does not belong into bin {}", fmt::ptr(block), bin));
                previous = block;
                ++binned;
            }
            if ((heap_.filled[bin / 64] >> bin % 64 & 1) != (heap_.bins[bin] != nullptr))
                report(fmt::format("the bit of bin {} is wrong", bin));
        }
        if (binned != found_.free_blocks)
            report(fmt::format("{} free blocks are in the chains and {} in the bins",
                               found_.free_blocks, binned));
    }

    void look_aside()
    {
        std::uint64_t all = 0;
        for (std::uint32_t units = 0; units != aside_sizes && !fault_; ++units) {
            std::uint32_t count = 0;
            for (auto* block = heap_.aside[units]; block && count <= max_aside;
                 block = block->in_bin().next) {
                ++count;
                if (!block->load().is_aside() || block->load().units != units)
                    report(fmt::format("block {} is not put aside as one of {} units",
                                       fmt::ptr(block), units));
            }
            if (count != heap_.aside_count[units])
                report(fmt::format("{} blocks of {} units are aside, not {}", count, units,
                                   heap_.aside_count[units]));
            all += count;
        }
        if (all != found_.aside_blocks)
            report(fmt::format("{} blocks are aside in the chains and {} in the lists",
                               found_.aside_blocks, all));
    }

    const heap_layout& heap_;
    memory_layout& memory_;
    member_id viewer_;
    heap_tally found_;
    std::optional<std::string> fault_;
};

}  // namespace

std::optional<std::string> heap_blocks::find_fault(actor who)
{
    const guard held{*this, who};
    return held.held() ? examination{heap_, memory_.layout(), who.member}.run()
                       : refusal(held).sentence;
}

bool heap_blocks::walk(actor who, const block_visitor& visit)
{
    const guard held{*this, who};
    if (!held.held())
        return false;
    for_each_arena(memory_.layout(), heap_, who.member,
                   [&](heap_arena_layout& arena) { for_each_block(arena, visit); });
    return true;
}

}  // namespace cohort
