#pragma once
/// Which memseg lists a new region has, how long they may get, and what they have at the start.

#include "cohort/memory/numa.hpp"
#include "cohort/primary/primary.hpp"

#include <string>
#include <vector>

namespace cohort::primary {

struct list_plan {
    page_size size{};
    int node = 0;
    std::uint64_t at_start = 0;  ///< bytes; never given back
    std::uint64_t max_bytes =
        0;                   ///< a quarter of the window for small pages, five eighths for huge
    std::string huge_dir{};  ///< empty = a memfd
    bool transparent = false;
};

struct page_plan {
    std::vector<list_plan> lists;  ///< node by node; in the order in which they grow
    std::size_t window_bytes = 0;
};

/// Throws `invalid_argument` for options that contradict each other or the machine, and
/// `no_hugepages` when demanded pages are not there.
[[nodiscard]] page_plan plan_pages(const start_options& options, const numa_system& numa);

/// The bytes behind the region_layout for entries and maps of pages.
[[nodiscard]] std::size_t tables_bytes(const start_options& options, const page_plan& plan);

}  // namespace cohort::primary
