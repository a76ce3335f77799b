#include "cohort/primary/page_plan.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/memory/cgroup.hpp"
#include "cohort/memory/page_map.hpp"
#include "cohort/memory/segment_file.hpp"
#include "cohort/memory/window.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace cohort::primary {
namespace {

using amounts = std::vector<std::size_t>;

error wrong(std::string sentence)
{
    return error{errc::invalid_argument, std::move(sentence)};
}

void check_nodes(const start_options& options, int nodes)
{
    if (options.emulated_nodes > max_numa_nodes)
        throw wrong(fmt::format("{} emulated nodes are asked for; 1 to {} can be",
                                options.emulated_nodes, max_numa_nodes));
    const auto check = [&](const amounts& given, const char* option) {
        if (given.size() > static_cast<std::size_t>(nodes))
            throw wrong(fmt::format("{} names {} nodes but there are {}; name one amount for each "
                                    "node",
                                    option, given.size(), nodes));
    };
    check(options.node_memory, "--numa-mem");
    check(options.node_limits, "--numa-limit");
    if (options.max_zones < 64 || options.max_zones > max_zones)
        throw wrong(
            fmt::format("{} zones are asked for; 64 to {} can be", options.max_zones, max_zones));
}

/// Bytes that each node has at the start.
amounts memory_of_nodes(const start_options& options, const numa_system& numa)
{
    amounts wanted(static_cast<std::size_t>(numa.count()));
    if (options.node_memory.empty())
        wanted[static_cast<std::size_t>(numa.current()) % wanted.size()] = options.memory;
    else
        std::copy(options.node_memory.begin(), options.node_memory.end(), wanted.begin());
    return wanted;
}

std::uint64_t sum_in(page_size size, const amounts& wanted)
{
    return std::accumulate(wanted.begin(), wanted.end(), std::uint64_t{0},
                           [&](std::uint64_t sum, std::size_t each) {
                               return sum + align_up(std::uint64_t{each}, bytes(size));
                           });
}

/// The pages of the start: hugepages when they are demanded, or wanted and there.
page_size size_at_start(const start_options& options, const amounts& wanted)
{
    const auto fits = [&](page_size size) {
        return sum_in(size, wanted) <= obtainable_bytes(size);
    };
    if (options.huge == huge_policy::none)
        return page_size::small;
    if (options.huge == huge_policy::automatic)
        return fits(page_size::huge_2m) ? page_size::huge_2m : page_size::small;
    const auto demanded =
        options.huge == huge_policy::only_2m ? page_size::huge_2m : page_size::huge_1g;
    if (!fits(demanded)) {
        check_cgroup(demanded, sum_in(demanded, wanted));
        throw error{errc::no_hugepages,
                    fmt::format("{} in pages of {} are required but {} are free; reserve more in "
                                "/sys/kernel/mm/hugepages or start with --huge none",
                                bytes_text(sum_in(demanded, wanted)), to_text(demanded),
                                bytes_text(available_bytes(demanded)))};
    }
    return demanded;
}

/// In the order of growth: the page size of the start, then hugepages that the machine has a pool
/// of, small before large. 4 KiB pages come last: they are what remains when hugepages run out.
std::vector<page_size> sizes_of(const start_options& options, page_size at_start)
{
    std::vector<page_size> sizes;
    if (at_start != page_size::small)
        sizes.push_back(at_start);
    if (options.huge == huge_policy::automatic)
        for (const auto size : {page_size::huge_2m, page_size::huge_1g})
            if (size != at_start && pool_bytes(size) != 0)
                sizes.push_back(size);
    sizes.push_back(page_size::small);
    return sizes;
}

std::string directory_for(const start_options& options, page_size size)
{
    if (options.huge_dir.empty() || size == page_size::small)
        return {};
    if (options.huge_dir != "auto") {
        check_hugetlbfs(std::string{options.huge_dir}, size);
        return std::string{options.huge_dir};
    }
    if (auto found = find_hugetlbfs(size))
        return *found;
    throw wrong(
        fmt::format("no writable hugetlbfs with pages of {} is mounted; mount one, or leave "
                    "--huge-dir out",
                    to_text(size)));
}

bool transparent_for(const start_options& options, page_size size)
{
    if (!options.transparent_hugepages || size != page_size::small)
        return false;
    if (shared_thp_allowed())
        return true;
    log(log_level::warning, "transparent hugepages are not allowed for shared memory, so plain "
                            "4 KiB pages are used; write \"advise\" to "
                            "/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    return false;
}

/// As asked for, or as many slots as the memory of the start needs.
std::size_t window_for(const start_options& options, page_size size, std::uint64_t largest,
                       std::uint64_t share)
{
    const auto part = window_slot_bytes / 8 * (size == page_size::small ? 2 : 5) / share;
    const bool given = options.window_bytes != 0;
    const auto slots = given ? (options.window_bytes - 1) / window_slot_bytes + 1
                             : std::max<std::uint64_t>(1, largest / part + (largest % part != 0));
    if (slots > large_slot_bytes / window_slot_bytes)
        throw wrong(
            given ? fmt::format("a window of {} is asked for; the largest has {}",
                                bytes_text(options.window_bytes), bytes_text(large_slot_bytes))
                  : fmt::format("{} of memory on a node do not fit into the largest window, "
                                "of {}; ask for less",
                                bytes_text(largest), bytes_text(large_slot_bytes)));
    return slots * window_slot_bytes;
}

}  // namespace

page_plan plan_pages(const start_options& options, const numa_system& numa)
{
    check_nodes(options, numa.count());
    const auto wanted = memory_of_nodes(options, numa);
    const auto at_start = size_at_start(options, wanted);
    const auto sizes = sizes_of(options, at_start);
    const auto nodes = static_cast<std::size_t>(numa.count());
    const auto largest =
        align_up(std::uint64_t{*std::max_element(wanted.begin(), wanted.end())}, bytes(at_start));
    const auto huge_lists = nodes * (sizes.size() - 1);
    const auto share = at_start == page_size::small ? nodes : huge_lists;

    page_plan plan{{}, window_for(options, at_start, largest, share)};
    const auto eighth = plan.window_bytes / 8;
    for (std::size_t node = 0; node != nodes; ++node)
        for (const auto size : sizes) {
            const bool small = size == page_size::small;
            const auto room = small ? eighth * 2 / nodes : eighth * 5 / huge_lists;
            plan.lists.push_back(
                {.size = size,
                 .node = static_cast<int>(node),
                 .at_start = size == at_start ? align_up(wanted[node], bytes(size)) : 0,
                 .max_bytes = align_down(room, std::uint64_t{1_GiB}),
                 .huge_dir = directory_for(options, size),
                 .transparent = transparent_for(options, size)});
        }
    for (const auto& list : plan.lists)
        if (list.at_start > list.max_bytes)
            throw wrong(
                fmt::format("{} of memory are asked for on node {}; a window of {} holds at "
                            "most {} of {} pages there; ask for a larger --window",
                            bytes_text(list.at_start), list.node, bytes_text(plan.window_bytes),
                            bytes_text(list.max_bytes), to_text(list.size)));
    return plan;
}

std::size_t tables_bytes(const start_options& options, const page_plan& plan)
{
    auto total = options.max_zones * sizeof(memzone_layout);
    for (const auto& list : plan.lists)
        total +=
            align_up(page_map::words_for(list.max_bytes / bytes(list.size)) * 8, cache_line_bytes);
    return total;
}

}  // namespace cohort::primary
