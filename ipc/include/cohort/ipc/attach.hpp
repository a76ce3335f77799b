#pragma once
/// The rungs of the attach ladder that members, observers and adopting primaries share: ask over a
/// connected socket, check, receive the descriptors, map, check again.
///
///   socket -> credentials -> hello (layout, place) -> descriptors -> header read-only -> window
///
/// Each rung has a deadline and its own sentence; a refused attach has written nothing.

#include "cohort/domain/region_mapping.hpp"
#include "cohort/domain/rendezvous.hpp"
#include "cohort/ipc/wire.hpp"

#include <span>
#include <string_view>

namespace cohort::ipc {

/// Throws `errc::wrong_owner` unless this user or root serves at the other end, or somebody of the
/// domain's group.
void check_server(int connection, const rendezvous& place);

/// The first rung alone: `fds` ride with the request.
void ask_for_region(int connection, const rendezvous& place, wire::attach_as as,
                    std::string_view name, std::span<const int> fds);
/// The rungs after it: waits for the answer and maps what comes.
[[nodiscard]] region_mapping take_region(int connection, map_access access, deadline until);
/// The last rungs: checks the header in `files`, through a mapping of its own, and maps all.
[[nodiscard]] region_mapping map_region(region_files files, const region_place& where,
                                        map_access access);

/// Asks over `connection` and maps what comes. `fds` ride with the request. Throws `timed_out`,
/// `layout_mismatch`, `region_truncated`, `region_garbage`, `window_taken`, `wrong_owner` ...
[[nodiscard]] region_mapping receive_region(int connection, const rendezvous& place,
                                            wire::attach_as as, std::string_view name,
                                            std::span<const int> fds, map_access access,
                                            deadline until);

}  // namespace cohort::ipc
