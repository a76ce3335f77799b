#include "cohort/memory/page_supply.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/memory/memseg_walk.hpp"
#include "cohort/memory/segment_file.hpp"

#include <fmt/format.h>

#include <sys/mman.h>

namespace cohort {
namespace {

std::uint64_t published_bytes(const memory_layout& layout, auto&& counts)
{
    std::uint64_t sum = 0;
    for_each_memseg_list(layout, [&](const auto& list, std::size_t) {
        if (counts(list))
            sum += list.published.load(std::memory_order_relaxed);  // locked
    });
    return sum;
}

void check_limit(std::uint64_t limit, std::uint64_t used, std::uint64_t more, std::string_view what,
                 std::string_view option)
{
    if (limit != 0 && used + more > limit)
        throw error{errc::no_memory,
                    fmt::format("{} more are wanted {}, where {} of at most {} are in use; raise "
                                "the limit with {} at the primary",
                                bytes_text(more), what, bytes_text(used), bytes_text(limit),
                                option)};
}

/// Calls `visit(run)` for published pages above the kept ones that no used range touches, upwards.
template <typename Visit>
void for_each_idle(const memseg_list_layout& list, std::span<const byte_range> used, Visit&& visit)
{
    const page_map map{list};
    for_each_unused(used, {list.base + list.kept_bytes, list.base + list.max_bytes},
                    [&](byte_range gap) { map.for_each_run(map.within(gap), visit); });
}

}  // namespace

void page_supply::check_limits(const memseg_list_layout& list, std::uint64_t more) const
{
    const auto node = static_cast<std::size_t>(list.numa_node) % max_numa_nodes;
    check_limit(
        layout_.node_limits[node],
        published_bytes(layout_, [&](auto& other) { return other.numa_node == list.numa_node; }),
        more, fmt::format("on node {}", node), "--numa-limit");
    const auto size = to_text(page_size{list.page_bytes});
    check_limit(
        layout_.page_limits[page_size_index(list.page_bytes)],
        published_bytes(layout_, [&](auto& other) { return other.page_bytes == list.page_bytes; }),
        more, fmt::format("in pages of {}", size), "--pagesz-mem");
}

void page_supply::check_validators(std::size_t index, std::uint64_t more) const
{
    const auto& list = layout_.lists[index];
    const auto has = list.published.load(std::memory_order_relaxed);  // locked
    if (watch_ && !watch_->allows({index, list.numa_node, list.page_bytes, more, has + more}))
        throw error{
            errc::no_memory,
            fmt::format("a validator of this process refuses {} more in pages of {} on node "
                        "{}, which has {}",
                        bytes_text(more), to_text(page_size{list.page_bytes}), list.numa_node,
                        bytes_text(has))};
}

std::vector<page_run> page_supply::obtain(std::size_t index, page_run wanted)
{
    auto& list = layout_.lists[index];
    page_map map{list};
    std::vector<page_run> missing;
    std::uint64_t count = 0;
    map.for_each_gap(wanted, [&](page_run gap) {
        missing.push_back(gap);
        count += gap.count();
    });
    if (count == 0)
        return missing;
    check_limits(list, count * list.page_bytes);
    check_validators(index, count * list.page_bytes);
    for (std::size_t made = 0; made != missing.size(); ++made) {
        try {
            make(index, missing[made]);
        } catch (...) {
            for (std::size_t undone = 0; undone <= made; ++undone)
                punch(index, missing[undone]);
            throw;
        }
    }
    COHORT_FAULT_POINT("memory.made");
    for (const auto run : missing)
        map.publish(run);
    COHORT_FAULT_POINT("memory.grown");
    list.published.fetch_add(count * list.page_bytes, std::memory_order_relaxed);  // locked
    list.growths.fetch_add(1, std::memory_order_relaxed);                          // a count
    return missing;
}

void page_supply::make(std::size_t index, page_run run)
{
    const auto& list = layout_.lists[index];
    const numa_placement placement{*numa_, list.numa_node};
    const auto offset = run.from * list.page_bytes;
    const auto length = run.count() * list.page_bytes;
    const page_size size{list.page_bytes};
    check_pages(size, offset, length);
    // Transparent hugepages are made for mappings that ask for them, not for files. What this does
    // not make, or not in one piece, the call below makes.
    if (list.transparent != 0)
        ::madvise(reinterpret_cast<void*>(list.base + offset), length, MADV_POPULATE_WRITE);
    make_pages(files_[index].get(), size, offset, length);
    // One call instead of a page fault for each hugepage that its maker touches. Of small pages
    // there are too many for those that are never touched here.
    if (size != page_size::small)
        ::madvise(reinterpret_cast<void*>(list.base + offset), length, MADV_POPULATE_WRITE);
    check_node(list, run);
}

void page_supply::check_node(const memseg_list_layout& list, page_run run) const
{
    if (numa_->count() < 2)
        return;
    for (auto page = run.from; page != run.to; ++page) {
        const int node =
            numa_->node_of(reinterpret_cast<void*>(list.base + page * list.page_bytes));
        if (node == any_numa_node)
            return;  // it cannot be known
        if (node != list.numa_node)
            throw error{list.page_bytes == bytes(page_size::small) ? errc::no_memory
                                                                   : errc::no_hugepages,
                        fmt::format("the kernel took pages for node {} from node {}; reserve more "
                                    "there, on node {}, or only hint at the node",
                                    list.numa_node, node, list.numa_node)};
    }
}

void page_supply::punch(std::size_t index, page_run run) noexcept
{
    const auto page_bytes = layout_.lists[index].page_bytes;
    punch_pages(files_[index].get(), run.from * page_bytes, run.count() * page_bytes);
}

std::uint64_t page_supply::idle_bytes(std::size_t index, std::span<const byte_range> used) const
{
    const auto& list = layout_.lists[index];
    std::uint64_t pages = 0;
    for_each_idle(list, used, [&](page_run run) { pages += run.count(); });
    return pages * list.page_bytes;
}

std::vector<page_run> page_supply::give_back(std::size_t index, std::span<const byte_range> used,
                                             std::uint64_t keep_bytes)
{
    auto& list = layout_.lists[index];
    std::vector<page_run> idle;
    std::vector<page_run> all_gone;
    std::uint64_t idle_pages = 0;
    for_each_idle(list, used, [&](page_run run) {
        idle.push_back(run);
        idle_pages += run.count();
    });
    const auto keep = keep_bytes / list.page_bytes;
    for (auto run = idle.rbegin(); run != idle.rend() && idle_pages > keep; ++run) {
        const auto count = std::min(run->count(), idle_pages - keep);
        const page_run gone{run->to - count, run->to};
        page_map{list}.withdraw(gone);
        COHORT_FAULT_POINT("memory.withdrawn");
        list.published.fetch_sub(count * list.page_bytes, std::memory_order_relaxed);  // locked
        punch(index, gone);
        COHORT_FAULT_POINT("memory.punched");
        idle_pages -= count;
        all_gone.push_back(gone);
    }
    page_map{list}.lower_top();
    if (!all_gone.empty())
        list.give_backs.fetch_add(1, std::memory_order_relaxed);  // a count
    return all_gone;
}

void page_supply::give_back_gaps(std::size_t index) noexcept
{
    const page_map map{layout_.lists[index]};
    map.for_each_gap({0, map.top()}, [&](page_run gap) { punch(index, gap); });
    punch(index, {map.top(), map.pages()});
}

void page_supply::repair() noexcept
{
    for (std::size_t i = 0; i != layout_.list_count; ++i) {
        auto& list = layout_.lists[i];
        page_map map{list};
        std::uint64_t published = 0;
        map.lower_top();
        map.for_each_run([&](page_run run) { published += run.count(); });
        give_back_gaps(i);
        const auto now = published * list.page_bytes;
        // Relaxed: under the lock. What changes counts as a step, as all changes do.
        if (list.published.exchange(now, std::memory_order_relaxed) != now)
            list.give_backs.fetch_add(1, std::memory_order_relaxed);
    }
}

}  // namespace cohort
