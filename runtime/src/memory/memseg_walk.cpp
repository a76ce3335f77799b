#include "cohort/memory/memseg_walk.hpp"

#include <fmt/format.h>

namespace cohort {

std::string_view to_text(zone_kind kind) noexcept
{
    switch (kind) {
    case zone_kind::memzone: return "memzone";
    case zone_kind::ring: return "ring";
    case zone_kind::mempool: return "mempool";
    case zone_kind::port: return "port";
    case zone_kind::heap: return "heap";
    case zone_kind::heap_arena: return "heap arena";
    case zone_kind::object: return "object";
    case zone_kind::pool_chunk: return "pool chunk";
    case zone_kind::capture: return "capture";
    }
    return "?";
}

std::vector<const memzone_layout*> zones_of(const memory_layout& memory, std::size_t list)
{
    std::vector<const memzone_layout*> zones;
    for_each_used(memory, [&](const memzone_layout& zone) {
        if (zone.word().state != zone_state::empty && zone.list == list)
            zones.push_back(&zone);
    });
    std::sort(zones.begin(), zones.end(),
              [](const auto* a, const auto* b) { return a->address < b->address; });
    return zones;
}

std::vector<byte_range> used_ranges(const memory_layout& memory, std::size_t list)
{
    std::vector<byte_range> used;
    for (const auto* zone : zones_of(memory, list))
        used.push_back({zone->address, zone->address + zone->length});
    return used;
}

memseg_list_usage usage_of(const memory_layout& memory, std::size_t index)
{
    const auto& list = memory.lists[index];
    const page_map map{list};
    const auto used = used_ranges(memory, index);
    memseg_list_usage usage;
    usage.published = list.published.load(std::memory_order_relaxed);  // for display
    for (const auto& range : used)
        usage.used += range.bytes();
    for_each_unused(used, {list.base, list.base + list.max_bytes}, [&](byte_range gap) {
        map.for_each_run(map.covering(gap), [&](page_run run) {
            const auto pages = map.addresses(run);
            usage.largest_free = std::max(usage.largest_free, std::min(gap.to, pages.to) -
                                                                  std::max(gap.from, pages.from));
        });
    });
    return usage;
}

std::string describe_memory(const memory_layout& memory)
{
    std::string text;
    for_each_memseg_list(memory, [&](const memseg_list_layout& list, std::size_t index) {
        const auto usage = usage_of(memory, index);
        text += fmt::format("list {}: pages of {} on node {}, {:#x} to {:#x}, {} of pages, {} in "
                            "use\n",
                            index, to_text(page_size{list.page_bytes}), list.numa_node, list.base,
                            list.base + list.max_bytes, bytes_text(usage.published),
                            bytes_text(usage.used));
        const page_map map{list};
        map.for_each_run({0, map.top()}, [&](page_run run) {
            text += fmt::format(
                "  pages {:#x} to {:#x}: {}\n", list.base + run.from * list.page_bytes,
                list.base + run.to * list.page_bytes, bytes_text(run.count() * list.page_bytes));
        });
        for (const auto* zone : zones_of(memory, index))
            text += fmt::format("  {:<10} {:<31} {:#x} to {:#x}: {}\n", to_text(zone->kind),
                                zone->name.view(), zone->address, zone->address + zone->length,
                                bytes_text(zone->length));
    });
    return text;
}

}  // namespace cohort
