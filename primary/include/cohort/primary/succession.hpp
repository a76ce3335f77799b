#pragma once
/// Taking a domain over from a primary that lives: the successor's side of a planned hand-over.
///
///   1. the primary's socket is asked for the region, which is mapped and checked; a successor of
///      another layout is refused here, and nobody notices
///   2. the primary is told to let go: it frees the primary lock and admits nobody
///   3. the lock is taken
///   4. the successor becomes a member and primary, as an adopter does, and says so
///
/// *When a process dies here*: the successor up to step 4: the primary takes the lock back and
/// serves. The primary at any step: the lock is free, and the successor goes on as an adopter.

#include "cohort/domain/rendezvous.hpp"
#include "cohort/primary/primary.hpp"

namespace cohort::primary {

struct succession {
    lock_description lock;  ///< holds the primary lock
    region_mapping region;
    file_descriptor predecessor;  ///< the connection to it; empty when it died
};

/// Steps 1 to 3. The caller holds the lock on the root. Throws `no_such_domain` when there is
/// neither a primary nor a member, `timed_out`, `in_use` while another hand-over is under way, and
/// what `ipc::receive_region` and `adopt_region` throw.
[[nodiscard]] succession succeed(const start_options& options, const rendezvous& place,
                                 deadline until);

/// The end of step 4.
void tell_took_over(const file_descriptor& predecessor) noexcept;

}  // namespace cohort::primary
