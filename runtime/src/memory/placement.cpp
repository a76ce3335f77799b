// Where a span goes: into a gap between entries, in pages that exist or in pages to be made.

#include "cohort/memory/memory.hpp"
#include "cohort/memory/memseg_walk.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort {
namespace {

struct candidate {
    std::uint64_t address = 0;
    std::uint64_t length = 0;
    std::uint64_t gap = 0;  ///< bytes of the gap that it lies in
};

byte_range whole(const memseg_list_layout& list) noexcept
{
    return {list.base, list.base + list.max_bytes};
}

/// The first place in a gap for a request, if there is one.
std::optional<candidate> fit(byte_range gap, const zone_request& request)
{
    auto start = align_up(gap.from, request.alignment);
    auto length = align_up(std::uint64_t{request.bytes}, cache_line_bytes);
    if (request.boundary != 0 && length > 0 &&
        align_down(start, request.boundary) != align_down(start + length - 1, request.boundary))
        start = align_up(start, std::max(request.boundary, request.alignment));
    const auto room = gap.to > start ? gap.to - start : 0;
    if (request.bytes == 0)
        length = align_down(room, cache_line_bytes);
    if (length == 0 || room < length)
        return std::nullopt;
    return candidate{start, length, room};
}

/// Keeps the tightest gap, or for length 0 the longest span.
void keep_better(std::optional<candidate>& best, const std::optional<candidate>& found,
                 bool longest)
{
    if (found && (!best || (longest ? found->length > best->length : found->gap < best->gap)))
        best = found;
}

/// Lists in two groups: on the node asked for, or the caller's, and on the others, which is empty
/// when that node was demanded.
struct list_groups {
    std::vector<std::size_t> home;
    std::vector<std::size_t> elsewhere;
};

list_groups groups_of(const memory_layout& layout, const zone_request& request,
                      std::optional<page_size> pages, int current_node)
{
    list_groups groups;
    const bool any = request.numa_node == any_numa_node;
    const int home = any ? current_node : request.numa_node;
    for (std::size_t i = 0; i != layout.list_count; ++i) {
        const auto& list = layout.lists[i];
        if (pages && bytes(*pages) != list.page_bytes)
            continue;
        if (list.numa_node == home)
            groups.home.push_back(i);
        else if (any || request.node_hint_only)
            groups.elsewhere.push_back(i);
    }
    return groups;
}

}  // namespace

/// In pages that exist: the first list with room, or for length 0 the longest span of all.
std::optional<memory::span> memory::place_in_pages(const std::vector<std::size_t>& lists,
                                                   const zone_request& request) const
{
    std::optional<span> longest;
    for (const auto index : lists) {
        const auto& list = layout_.lists[index];
        const page_map map{list};
        std::optional<candidate> best;
        for_each_unused(used_ranges(layout_, index), whole(list), [&](byte_range gap) {
            map.for_each_run(map.covering(gap), [&](page_run run) {
                const auto pages = map.addresses(run);
                keep_better(
                    best,
                    fit({std::max(gap.from, pages.from), std::min(gap.to, pages.to)}, request),
                    request.bytes == 0);
            });
        });
        if (best && (!longest || best->length > longest->length))
            longest = span{index, best->address, best->length};
        if (longest && request.bytes != 0)
            break;
    }
    return longest;
}

/// In a gap of the first list that gets the pages it lacks there. `refusal` is why the last one did
/// not.
std::optional<memory::span> memory::place_by_growth(const std::vector<std::size_t>& lists,
                                                    const zone_request& request,
                                                    std::optional<error>& refusal)
{
    for (const auto index : lists) {
        const auto& list = layout_.lists[index];
        std::optional<candidate> best;
        for_each_unused(used_ranges(layout_, index), whole(list),
                        [&](byte_range gap) { keep_better(best, fit(gap, request), false); });
        if (!best)
            continue;
        try {
            auto fresh = supply_.obtain(
                index, page_map{list}.covering({best->address, best->address + best->length}));
            return span{index, best->address, best->length, std::move(fresh)};
        } catch (const error& refused) {
            refusal = refused;  // another list may have room
        }
    }
    return std::nullopt;
}

memory::span memory::place(const zone_request& request)
{
    std::optional<error> refusal;
    const int here = numa().current();  // once: the thread may move on meanwhile
    std::vector<std::optional<page_size>> choices{request.pages};
    if (request.pages && request.pages_hint_only)
        choices.push_back(std::nullopt);
    for (const bool at_home : {true, false})
        for (const auto& pages : choices) {
            auto groups = groups_of(layout_, request, pages, here);
            auto& lists = at_home ? groups.home : groups.elsewhere;
            if (at_home && request.bytes == 0 && request.numa_node == any_numa_node)
                lists.insert(lists.end(), groups.elsewhere.begin(), groups.elsewhere.end());
            auto found = place_in_pages(lists, request);
            if (!found && request.bytes != 0)
                found = place_by_growth(lists, request, refusal);
            if (!found)
                continue;
            if (!at_home && request.numa_node != any_numa_node)
                found->flags |= zone_off_node;
            return std::move(*found);
        }
    if (refusal)
        throw error{*refusal};
    throw error{errc::no_memory,
                fmt::format("no span of {} is free for \"{}\" on the pages and node asked for; "
                            "start the primary with more --memory, or a larger --window",
                            bytes_text(request.bytes), request.name)};
}

/// What of a span is not zero for sure: pages that were there before, where spans have been.
std::vector<byte_range> memory::dirty_parts(const span& where) const
{
    const auto& list = layout_.lists[where.list];
    const auto high = list.base + list.high_water.load(std::memory_order_relaxed);  // locked
    const byte_range used_before{where.address, std::min(where.address + where.length, high)};
    std::vector<byte_range> fresh;
    for (const auto run : where.fresh)
        fresh.push_back(page_map{list}.addresses(run));
    std::vector<byte_range> dirty;
    if (used_before.from < used_before.to)
        for_each_unused(fresh, used_before, [&](byte_range part) {
            part.to = std::min(part.to, used_before.to);
            if (part.from < part.to)
                dirty.push_back(part);
        });
    return dirty;
}

}  // namespace cohort
