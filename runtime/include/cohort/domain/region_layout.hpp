#pragma once
/// The region: all control state of a domain, mapped at the start of its window.
///
///   region_layout   header     who made it, with which layout, where it lies
///                   members    member slots, lanes, sentinels
///                   recovery   the reaper's lock and the obituaries
///                   dynamics   dynamic fields and flags of mbufs
///                   memory     memseg lists
///   behind it       the table of named spans, then the maps of pages: as long as the primary chose
///
/// docs/memory-layout.md has the byte map. The layout hash covers sizes, offsets, limits and the C
/// library's mutex, so that a process built otherwise is refused before it touches anything.

#include "cohort/memory/memory_layout.hpp"
#include "cohort/packet/mbuf_dynamic.hpp"
#include "cohort/recovery/audit.hpp"
#include "cohort/recovery/recovery_layout.hpp"

namespace cohort {

enum class region_state : std::uint32_t { building = 0, ready = 1 };

struct region_header {
    static constexpr std::uint64_t magic_value = 0x0031'5452'4f48'4f43;  // "COHORT1"

    std::uint64_t magic = 0;
    std::uint64_t layout_hash = 0;
    std::uint64_t region_bytes = 0;
    std::uint64_t window_base = 0;
    std::uint64_t window_bytes = 0;
    std::uint64_t created_ns = 0;
    std::atomic<std::uint32_t> state{0};    ///< region_state; released when the region is complete
    std::atomic<std::uint32_t> epoch{0};    ///< raised by each primary that takes over
    std::atomic<std::uint64_t> primary{0};  ///< member:16 << 32 | generation of the last primary
    std::uint32_t creator_uid = 0;
    std::uint32_t reserved_ = 0;
    fixed_name<64> name;
};
static_assert(shared_layout<region_header> && sizeof(region_header) == 136);

struct region_layout {
    alignas(cache_line_bytes) region_header header;
    member_table_layout members;
    recovery_layout recovery;
    mbuf_dynamic_layout dynamics;
    memory_layout memory;
};
static_assert(shared_layout<region_layout>);

[[nodiscard]] inline audited_region audited(const region_layout& region) noexcept
{
    return {region.memory, region.members, region.recovery};
}

/// What two processes must agree on before they share a byte.
[[nodiscard]] std::uint64_t layout_hash() noexcept;

/// Throws `layout_mismatch`, `region_garbage` or `region_truncated` with actual and wanted values.
void check_header(const region_header& header, std::uint64_t file_bytes);

}  // namespace cohort
