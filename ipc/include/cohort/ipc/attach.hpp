#pragma once
/// The rungs of the attach ladder that members, observers and adopting primaries share: ask over a
/// connected socket, check, receive the descriptors, map, check again.
///
///   socket -> credentials -> hello (layout, place) -> descriptors -> header read-only -> window
///
/// Each rung has a deadline and its own sentence; a refused attach has written nothing.

#include "cohort/domain/region_mapping.hpp"
#include "cohort/ipc/wire.hpp"

#include <span>
#include <string_view>

namespace cohort::ipc {

/// Asks over `connection` and maps what comes. `fds` ride with the request. Throws `timed_out`,
/// `layout_mismatch`, `region_truncated`, `region_garbage`, `window_taken`, `wrong_owner` ...
[[nodiscard]] region_mapping receive_region(int connection, wire::attach_as as,
                                            std::string_view name, std::span<const int> fds,
                                            map_access access, deadline until);

}  // namespace cohort::ipc
