#pragma once
/// Internal to the audit: whether the structures of a region are sound, and no word of them names a
/// lane that is not in use. Where buffers are is asked elsewhere: see audit.cpp.

#include "cohort/recovery/audit.hpp"
#include "cohort/recovery/object_view.hpp"

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>

namespace cohort {

/// Something that does not add up, with the words that were seen; equal in all scans = a fault.
using finding = std::pair<std::string, std::uint64_t>;
using finding_set = std::set<finding>;

/// One scan: what it finds may be on its way.
void find_structure_faults(const audited_region& region, std::span<const pool_view> pools,
                           finding_set& findings);

}  // namespace cohort
