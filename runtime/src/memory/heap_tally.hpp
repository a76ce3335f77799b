#pragma once
// What the chains of a heap add up to. They are the truth; the counters must agree.

#include "cohort/memory/heap_layout.hpp"

namespace cohort {

struct heap_tally {
    std::uint64_t arenas = 0;
    std::uint64_t free_arenas = 0;
    std::uint64_t bytes = 0;
    std::uint64_t used_bytes = 0;
    std::uint64_t used_blocks = 0;
    std::uint64_t free_blocks = 0;
    std::uint64_t aside_blocks = 0;
    std::uint64_t mortal_blocks = 0;

    void count(const block_word& word) noexcept
    {
        if (word.is_free()) {
            ++free_blocks;
            return;
        }
        if (word.is_aside()) {
            ++aside_blocks;
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
        counters.aside_blocks.store(aside_blocks, std::memory_order_relaxed);    // locked
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
               same(aside_blocks, counters.aside_blocks) &&
               same(mortal_blocks, counters.mortal_blocks);
    }
};

}  // namespace cohort
