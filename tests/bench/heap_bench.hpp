#pragma once

#include "allocators.hpp"
#include "measure.hpp"

namespace cohort::bench {

struct heap_context {
    allocator ours;
    allocator glibc;
    std::unique_ptr<allocator> mimalloc;
    std::unique_ptr<allocator> dpdk;
    std::string pages;
};

/// `with` must outlive the measurements.
[[nodiscard]] std::vector<measurement> heap_measurements(const heap_context& with);

/// One round of the churn, for a competing process: nanoseconds of a free and a malloc.
[[nodiscard]] double churn_once(const allocator& from);

}  // namespace cohort::bench
