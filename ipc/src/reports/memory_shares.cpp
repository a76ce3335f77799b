// Who has the domain's memory, and what for.

#include "cohort/ipc/reports.hpp"
#include "heap_walk.hpp"

#include <map>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

struct share {
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;

    void add(std::uint64_t more) noexcept
    {
        ++count;
        bytes += more;
    }
};

struct member_share {
    share zones;
    share blocks;
};

using member_key = std::pair<member_id, std::string>;  // slots are used again: number and name

/// Who made a span. Its entry has no generation of its maker, but the time.
member_key creator_of(const region_layout& region, const memzone_layout& zone)
{
    const auto id = zone.creator;
    if (id == 0 || id >= max_members)
        return {id, "?"};
    const auto& member = region.members.members[id];
    const bool same =
        member.word().state == member_state::live && member.joined_ns <= zone.created_ns;
    return {id, same ? std::string{member.name.view()} : "gone"};
}

}  // namespace

table list_member_shares(const region_layout& region)
{
    std::map<member_key, member_share> shares;
    for_each_used(region.memory, [&](const memzone_layout& zone) {
        // Arenas are in the blocks, and belong to nobody.
        if (zone.is_live() && zone.kind != zone_kind::heap_arena)
            shares[creator_of(region, zone)].zones.add(zone.length);
    });
    for_each_heap(region, [&](const memzone_layout&, const heap_layout& heap) {
        for_each_used_block(region, heap, [&](const heap_block& block, block_word word) {
            const auto id = block.owner.load(std::memory_order_relaxed);  // for display
            const auto name = owner_of(region, id, word.owner_generation).first;
            shares[{id, name}].blocks.add(word.units * heap_unit_bytes);
        });
    });
    table shown{{"member", "name", "zones", "zone_bytes", "blocks", "block_bytes"}, {}};
    for (const auto& [key, of] : shares)
        shown.rows.push_back({key.first, key.second, of.zones.count, of.zones.bytes,
                              of.blocks.count, of.blocks.bytes});
    return shown;
}

table list_type_shares(const region_layout& region)
{
    std::map<std::string, share> shares;
    for_each_heap(region, [&](const memzone_layout&, const heap_layout& heap) {
        const auto& names = names_of(region.memory, heap);
        for_each_used_block(region, heap, [&](const heap_block& block, block_word word) {
            const auto type = block.type.load(std::memory_order_relaxed);  // for display
            shares[std::string{names.types[type].view()}].add(word.units * heap_unit_bytes);
        });
    });
    table shown{{"type", "blocks", "bytes"}, {}};
    for (const auto& [type, of] : shares)
        shown.rows.push_back(
            {type.empty() ? cell{"-", {{"type", nullptr}}} : cell{type}, of.count, of.bytes});
    return shown;
}

table list_external_heaps(const region_layout& region)
{
    table shown{{"heap", "arenas", "bytes", "used"}, {}};
    for_each_heap(region, [&](const memzone_layout& zone, const heap_layout& heap) {
        if (heap.external != 0)
            shown.rows.push_back(
                {zone.name.view(),
                 heap.counters.arenas.load(std::memory_order_relaxed),        // for display
                 heap.counters.bytes.load(std::memory_order_relaxed),         // for display
                 heap.counters.used_bytes.load(std::memory_order_relaxed)});  // for display
    });
    return shown;
}

}  // namespace cohort::ipc
