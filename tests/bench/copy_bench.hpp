#pragma once
// copy_bytes beside memcpy of the C library and rte_memcpy: between buffers that lie as packets of
// a pool do, in the cache, at random offsets in a line.

#include "measure.hpp"

#include <vector>

namespace cohort::bench {

/// Built for any processor of its kind, and for this one. The same source twice.
[[nodiscard]] std::vector<measurement> copy_measurements_any();
[[nodiscard]] std::vector<measurement> copy_measurements_native();

}  // namespace cohort::bench
