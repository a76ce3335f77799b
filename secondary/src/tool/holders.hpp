#pragma once
// cohort holders --older-than: who has held buffers of a pool for long.

#include "cohort/domain/region_layout.hpp"
#include "cohort/ipc/table.hpp"

#include <chrono>
#include <string>

namespace cohort::tool {

/// Watches the pool for `age`, by looks at moments of chance, and lists whose buffers were in the
/// same hands in all of them. Throws `errc::not_found` when there is no such pool.
[[nodiscard]] ipc::table watch_holders(const region_layout& region, const std::string& pool,
                                       std::chrono::duration<double> age);

}  // namespace cohort::tool
