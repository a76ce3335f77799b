#pragma once
/// When the kernel has stopped to look at what it was told to let go of.

namespace cohort::detail {

/// Returns once every processor has left the kernel's packet path that it was in at the call: what
/// that had looked up in a map before is then done with. Throws what the kernel says.
void await_grace_period();

}  // namespace cohort::detail
