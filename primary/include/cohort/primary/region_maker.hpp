#pragma once
/// Making a region: planning pages, choosing the window, laying out the control state.

#include "cohort/domain/rendezvous.hpp"
#include "cohort/primary/primary.hpp"

namespace cohort::primary {

/// Makes a ready region. The caller holds the domain's primary lock and the lock on the root, so
/// nobody chooses a window at the same time. `lock` is written with the window chosen.
[[nodiscard]] region_mapping make_region(const start_options& options, const rendezvous& place,
                                         const lock_description& lock);

/// Removes what a dead domain of that name left: sockets, and a region file caught between its
/// creation and its unlinking. The caller holds the primary lock.
void remove_debris(const rendezvous& place);

}  // namespace cohort::primary
