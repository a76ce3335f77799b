#pragma once
// Heaps and used blocks as an observer finds them, without a lock.

#include "cohort/domain/region_layout.hpp"
#include "cohort/memory/heap_layout.hpp"

#include <string>
#include <utility>

namespace cohort::ipc {

inline constexpr member_id nobody = 0;  ///< this process has no external memory mapped

template <typename Visit>
void for_each_heap(const region_layout& region, Visit&& visit)
{
    for_each_live(region.memory, zone_kind::heap, [&](const memzone_layout& zone) {
        visit(zone, *static_cast<const heap_layout*>(zone.data()));
    });
}

/// `visit(block, word)` for each used block that an observer may touch.
template <typename Visit>
void for_each_used_block(const region_layout& region, const heap_layout& heap, Visit&& visit)
{
    for_each_arena(region.memory, heap, nobody, [&](const heap_arena_layout& arena) {
        for_each_block(arena, [&](const heap_block& block, block_word word) {
            if (word.is_used())
                visit(block, word);
        });
    });
}

/// A member's name and whether it is the one that allocated: slots are used again.
[[nodiscard]] std::pair<std::string, bool> owner_of(const region_layout& region, member_id id,
                                                    std::uint16_t generation);

}  // namespace cohort::ipc
