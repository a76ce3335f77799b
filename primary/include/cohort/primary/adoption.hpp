#pragma once
/// Getting hold of the region of a domain whose primary died.
///
///   1. every member's socket is asked at once; the first sound answer is taken
///   2. members that do not answer (stopped, starved) lend their descriptors unasked, through
///      /proc/PID/fd
///   3. nobody has done either: the answers are waited for until the deadline
///
/// *When a process dies here*: nothing was written; the next primary starts from the beginning.

#include "cohort/domain/rendezvous.hpp"
#include "cohort/primary/primary.hpp"

namespace cohort::primary {

/// The caller holds the primary lock, `lock`, of a domain whose life byte is held. Throws
/// `timed_out` when no member can be used, and what `ipc::receive_region` throws.
[[nodiscard]] region_mapping adopt_region(const start_options& options, const rendezvous& place,
                                          const lock_description& lock, deadline until);

}  // namespace cohort::primary
