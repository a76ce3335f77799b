#pragma once
/// Looking at memseg lists, their pages, and what lies on them.
///
/// *Thread safety*: reads only, without the memory lock: fit for observers. What is seen may have
/// changed a moment later; no page is touched.

#include "cohort/memory/page_map.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace cohort {

/// One page, or several in a row, of one list.
struct memseg {
    std::uint64_t address = 0;
    std::uint64_t bytes = 0;
    std::size_t list = 0;
    std::uint64_t page_bytes = 0;
    int numa_node = 0;
};

/// Calls `visit(list, index)` for each list.
template <typename Visit>
void for_each_memseg_list(const memory_layout& memory, Visit&& visit)
{
    for (std::size_t i = 0; i != std::min<std::size_t>(memory.list_count, max_memseg_lists); ++i)
        visit(memory.lists[i], i);
}

/// Calls `visit(memseg)` for each run of pages that exist.
template <typename Visit>
void for_each_memseg_run(const memory_layout& memory, Visit&& visit)
{
    for_each_memseg_list(memory, [&](const memseg_list_layout& list, std::size_t index) {
        const page_map map{list};
        map.for_each_run([&](page_run run) {
            const auto pages = map.addresses(run);
            visit(memseg{pages.from, pages.bytes(), index, list.page_bytes, list.numa_node});
        });
    });
}

/// Calls `visit(memseg)` for each page that exists.
template <typename Visit>
void for_each_memseg(const memory_layout& memory, Visit&& visit)
{
    for_each_memseg_run(memory, [&](memseg run) {
        for (std::uint64_t at = 0; at != run.bytes; at += run.page_bytes)
            visit(
                memseg{run.address + at, run.page_bytes, run.list, run.page_bytes, run.numa_node});
    });
}

/// The page at an address; nothing for a hole and for what lies in no list.
[[nodiscard]] inline std::optional<memseg> find_memseg(const memory_layout& memory,
                                                       const void* address) noexcept
{
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    const auto* list = list_of(memory, at);
    if (!list || !page_map{*list}.holds(at))
        return std::nullopt;
    return memseg{at - (at - list->base) % list->page_bytes, list->page_bytes,
                  static_cast<std::size_t>(list - memory.lists), list->page_bytes, list->numa_node};
}

/// What a list is used for.
struct memseg_list_usage {
    std::uint64_t published = 0;     ///< bytes of pages that exist
    std::uint64_t used = 0;          ///< bytes that spans cover
    std::uint64_t largest_free = 0;  ///< bytes in a row, in pages that exist
};
[[nodiscard]] memseg_list_usage usage_of(const memory_layout& memory, std::size_t list);

/// Entries of one list that are not EMPTY, by address; and what they cover.
[[nodiscard]] std::vector<const memzone_layout*> zones_of(const memory_layout& memory,
                                                          std::size_t list);
[[nodiscard]] std::vector<byte_range> used_ranges(const memory_layout& memory, std::size_t list);

/// Calls `visit(byte_range)` for what sorted ranges leave of `whole`.
template <typename Ranges, typename Visit>
void for_each_unused(const Ranges& used, byte_range whole, Visit&& visit)
{
    auto from = whole.from;
    for (const auto& taken : used) {
        if (taken.from > from)
            visit(byte_range{from, taken.from});
        from = std::max(from, taken.to);
    }
    if (from < whole.to)
        visit(byte_range{from, whole.to});
}

/// Lists, runs of pages and spans, as text for a person: rte_dump_physmem_layout and
/// rte_memzone_dump.
[[nodiscard]] std::string describe_memory(const memory_layout& memory);

[[nodiscard]] std::string_view to_text(zone_kind kind) noexcept;

}  // namespace cohort
