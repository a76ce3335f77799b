#pragma once
/// What a region holds, as tables: for queries, and for the cohort command. Reads only, without a
/// lock: counts that belong together may be of two moments.
///
/// *Thread safety*: any thread; any process that has the region mapped, observers too.

#include "cohort/domain/region_layout.hpp"
#include "cohort/domain/rendezvous.hpp"
#include "cohort/ipc/table.hpp"

#include <string>
#include <string_view>

namespace cohort::ipc {

/// "2 MiB"; in JSON with the number beside it.
[[nodiscard]] cell page_cell(std::uint64_t page_bytes);

[[nodiscard]] table list_members(const region_layout& region);
[[nodiscard]] table list_actions(const region_layout& region);
[[nodiscard]] table list_deaths(const region_layout& region);
[[nodiscard]] table list_lanes(const region_layout& region);
[[nodiscard]] table list_zones(const region_layout& region);
[[nodiscard]] table list_memory(const region_layout& region);
/// Spans by their maker, used blocks by their owner.
[[nodiscard]] table list_member_shares(const region_layout& region);
/// Used blocks by the name they were allocated under.
[[nodiscard]] table list_type_shares(const region_layout& region);
/// What the two before do not count: an observer has none of this memory.
[[nodiscard]] table list_external_heaps(const region_layout& region);
/// Lists drawn as text, and as an SVG document.
[[nodiscard]] std::string map_of_memory(const region_layout& region);
[[nodiscard]] std::string picture_of_memory(const region_layout& region);
[[nodiscard]] table list_heaps(const region_layout& region);
/// Used heap blocks, added up by owner, type and lifetime. `dead_only`: of members that are gone.
[[nodiscard]] table list_blocks(const region_layout& region, bool dead_only);
[[nodiscard]] table list_ports(const region_layout& region);
[[nodiscard]] table list_queues(const region_layout& region);  ///< of all ports
[[nodiscard]] table list_rings(const region_layout& region);
[[nodiscard]] table list_stages(const region_layout& region);  ///< of all staged rings
[[nodiscard]] table list_pools(const region_layout& region);
/// Throws `errc::invalid_argument` when there is no such pool.
[[nodiscard]] table list_holders(const region_layout& region, std::string_view pool);
/// Members and lanes that are dead and not yet recovered, with what they hold.
[[nodiscard]] table list_unreaped(const region_layout& region, const rendezvous& place);
[[nodiscard]] table list_audit(const audit_report& report);

}  // namespace cohort::ipc
