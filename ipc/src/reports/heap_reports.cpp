#include "cohort/ipc/reports.hpp"
#include "heap_walk.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

/// What the counters in the region say of a heap whose blocks nobody here may touch.
std::string external_text(const heap_layout& heap)
{
    return fmt::format("external, {} bytes in {} arenas",
                       heap.counters.bytes.load(std::memory_order_relaxed),    // for display
                       heap.counters.arenas.load(std::memory_order_relaxed));  // for display
}

}  // namespace

std::pair<std::string, bool> owner_of(const region_layout& region, member_id id,
                                      std::uint16_t generation)
{
    if (id == 0 || id >= max_members)
        return {"?", false};
    const auto& member = region.members.members[id];
    const auto word = member.word();
    const bool alive = word.state == member_state::live &&
                       static_cast<std::uint16_t>(word.generation) == generation;
    return {alive ? std::string{member.name.view()} : "gone", alive};
}

table list_heaps(const region_layout& region)
{
    table shown{{"heap", "node", "arenas", "bytes", "used", "free", "largest_free", "blocks",
                 "repairs", "bad_frees"},
                {}};
    for_each_heap(region, [&](const memzone_layout& zone, const heap_layout& heap) {
        std::uint64_t largest = 0;
        for_each_arena(region.memory, heap, nobody, [&](const heap_arena_layout& arena) {
            for_each_block(arena, [&](const heap_block&, block_word word) {
                if (word.is_free())
                    largest = std::max(largest, word.units * heap_unit_bytes - sizeof(heap_block));
            });
        });
        const auto& counters = heap.counters;
        const auto bytes = counters.bytes.load(std::memory_order_relaxed);      // for display
        const auto used = counters.used_bytes.load(std::memory_order_relaxed);  // for display
        const bool external = heap.external != 0;
        shown.rows.push_back(
            {zone.name.view(),
             external ? nlohmann::json("external") : nlohmann::json(heap.numa_node),
             counters.arenas.load(), bytes, used, bytes - used,
             external ? nlohmann::json("-") : nlohmann::json(largest), counters.used_blocks.load(),
             heap.repairs.load(), heap.bad_frees.load()});
    });
    return shown;
}

table list_blocks(const region_layout& region, bool dead_only)
{
    struct sum {
        std::uint64_t blocks = 0;
        std::uint64_t bytes = 0;
    };
    using group = std::tuple<std::string, member_id, std::string, std::string, std::string>;
    std::map<group, sum> sums;
    table shown{{"heap", "member", "name", "type", "lifetime", "blocks", "bytes"}, {}};
    for_each_heap(region, [&](const memzone_layout& zone, const heap_layout& heap) {
        const auto& names = names_of(region.memory, heap);
        if (heap.external != 0)
            shown.rows.push_back({zone.name.view(), "-", external_text(heap), "-", "-", "-", "-"});
        for_each_used_block(region, heap, [&](const heap_block& block, block_word word) {
            const auto id = block.owner.load(std::memory_order_relaxed);   // for display
            const auto type = block.type.load(std::memory_order_relaxed);  // for display
            const auto [name, alive] = owner_of(region, id, word.owner_generation);
            if (dead_only && alive)
                return;
            auto& all = sums[{std::string{zone.name.view()}, id, name,
                              std::string{names.types[type].view()},
                              (word.flags & block_word::mortal) != 0 ? "member" : "domain"}];
            ++all.blocks;
            all.bytes += word.units * heap_unit_bytes;
        });
    });
    for (const auto& [key, all] : sums) {
        const auto& [heap, id, name, type, kept] = key;
        shown.rows.push_back({heap, id, name,
                              type.empty() ? cell{"-", {{"type", nullptr}}} : cell{type}, kept,
                              all.blocks, all.bytes});
    }
    return shown;
}

}  // namespace cohort::ipc
