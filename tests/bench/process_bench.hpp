#pragma once

#include "measure.hpp"

namespace cohort::bench {

/// Memory that start and attach are measured with.
constexpr std::size_t process_megabytes = 512;

/// Start, attach and growth, each round in processes made for it. Call unpinned: they inherit that.
[[nodiscard]] std::vector<measurement> process_measurements();

}  // namespace cohort::bench
