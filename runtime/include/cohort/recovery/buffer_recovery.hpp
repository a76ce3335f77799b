#pragma once
/// Step 3 of the reaper: finding and returning the buffers of one holder; and the end of rings that
/// buffers were received from.

#include "cohort/member/member_table.hpp"
#include "cohort/memory/memory.hpp"
#include "cohort/recovery/object_view.hpp"
#include "cohort/recovery/recovery_layout.hpp"

namespace cohort {

struct recovered {
    std::size_t waiting = 0;  ///< packets that found no room in their redelivery ring
    bool complete = true;     ///< false: a stopped process stands in the way; call again later
};

/// Returns every buffer whose custody word names `holder` and that is in no ring; counts into
/// `obituary`. With them goes what was given to members that had died by then, and was overlooked
/// for that. Runs under the recovery lock. `holder` is dead, or is custody::waiting.
recovered recover_buffers(memory& segments, const member_table_layout& members,
                          recovery_layout& recovery, std::uint64_t holder,
                          obituary_layout& obituary);

/// What was received from a ring that this member is destroying, or died destroying, came from
/// nowhere from now on: the next ring in that place owes nothing to it. Before the ring's entry
/// becomes EMPTY, under the recovery lock. Idempotent.
void forget_dying_rings(const memory_layout& memory, member_id destroyer) noexcept;

}  // namespace cohort
