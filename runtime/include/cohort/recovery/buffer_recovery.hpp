#pragma once
/// Step 3 of the reaper: finding and returning the buffers of one holder.

#include "cohort/memory/memory.hpp"
#include "cohort/recovery/object_view.hpp"
#include "cohort/recovery/recovery_layout.hpp"

namespace cohort {

/// Returns every buffer whose custody word names `holder` and that is in no ring; counts into
/// `obituary`. Runs under the recovery lock. `holder` is dead, or is custody::waiting.
/// Returns how many packets still wait for room in their redelivery ring.
std::size_t recover_buffers(memory& segments, std::uint64_t holder, obituary_layout& obituary);

}  // namespace cohort
