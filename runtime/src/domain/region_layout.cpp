#include "cohort/domain/region_layout.hpp"

#include "cohort/base/error.hpp"
#include "cohort/memory/heap_layout.hpp"
#include "cohort/memory/page_size.hpp"
#include "cohort/memory/window.hpp"
#include "cohort/packet/mbuf_external.hpp"
#include "cohort/port/capture_layout.hpp"

#include <array>

#include <fmt/format.h>

namespace cohort {

// A bit for each member, and a byte for its number in the header of a heap block.
static_assert(max_members <= 64 && std::size(heap_layout{}.debts) == max_members);

std::uint64_t layout_hash() noexcept
{
    constexpr std::array facts{
        std::size_t{custody::is_written},
        sizeof(region_header),
        sizeof(region_layout),
        sizeof(memory_layout),
        sizeof(memseg_list_layout),
        sizeof(memzone_layout),
        sizeof(member_table_layout),
        sizeof(member_layout),
        sizeof(lane_layout),
        sizeof(recovery_layout),
        sizeof(obituary_layout),
        sizeof(ring_layout),
        sizeof(mempool_layout),
        sizeof(lane_cache_layout),
        sizeof(pool_chunk_layout),
        sizeof(mbuf),
        sizeof(lane_references),
        sizeof(mbuf_dynamic_entry),
        sizeof(mbuf_history_layout),
        sizeof(external_info),
        sizeof(port_layout),
        sizeof(port_queue_layout),
        sizeof(heap_layout),
        sizeof(heap_arena_layout),
        sizeof(heap_block),
        sizeof(pthread_mutex_t),
        offsetof(region_layout, memory),
        offsetof(region_layout, members),
        offsetof(region_layout, recovery),
        offsetof(member_layout, mailbox_bell),
        offsetof(ring_layout, consumer),
        offsetof(ring_layout, mark_shift),
        offsetof(ring_layout, when_full),
        offsetof(ring_side, pending),
        offsetof(ring_side, bell),
        offsetof(port_layout, tx),
        offsetof(port_layout, device_keeps),
        offsetof(port_layout, capturer),
        offsetof(port_layout, receives),
        sizeof(capture_layout),
        sizeof(capture_record),
        capture_stream_bytes,
        offsetof(burst_journal_layout, device),
        offsetof(mbuf, redo),
        offsetof(mbuf, share),
        offsetof(mempool_layout, history),
        offsetof(mempool_layout, pinned),
        offsetof(mempool_layout, growing),
        offsetof(mempool_layout, chunk_count),
        offsetof(region_layout, dynamics),
        offsetof(member_table_layout, references),
        offsetof(mempool_layout, redeliver_to),
        offsetof(mempool_layout, private_area_bytes),
        offsetof(lane_cache_layout, asked),
        offsetof(heap_layout, lock),
        offsetof(heap_layout, bins),
        offsetof(heap_layout, names_of),
        offsetof(heap_layout, memories),
        offsetof(heap_layout, debts),
        offsetof(memzone_layout, attached),
        offsetof(memory_layout, zones),
        offsetof(memory_layout, ever_used),
        offsetof(memseg_list_layout, page_map),
        window_area_begin,
        window_slot_bytes,
        control_reserve_bytes,
        max_members,
        max_lanes,
        std::size_t{max_zones},
        std::size_t{PTHREAD_MUTEX_ROBUST},
        std::size_t{11} /* layout version */,
    };
    std::uint64_t hash = region_header::magic_value;
    for (const std::size_t fact : facts)
        hash = (hash ^ fact) * 0x100000001b3u + (hash >> 29);
    return hash;
}

void check_header(const region_header& header, std::uint64_t file_bytes)
{
    if (file_bytes < sizeof(region_layout))
        throw error{
            errc::region_truncated,
            fmt::format("the region has {} bytes but its layout needs {}; stop its members and "
                        "start the primary anew",
                        file_bytes, sizeof(region_layout))};
    if (header.magic != region_header::magic_value)
        throw error{errc::region_garbage,
                    fmt::format("the region starts with {:#018x} and not with {:#018x}; stop its "
                                "members and start the primary anew",
                                header.magic, region_header::magic_value)};
    if (header.layout_hash != layout_hash())
        throw error{
            errc::layout_mismatch,
            fmt::format("the region was made with layout {:#018x} but this program was built "
                        "with {:#018x}; run the same version of cohort everywhere",
                        header.layout_hash, layout_hash())};
    if (header.region_bytes != file_bytes)
        throw error{
            errc::region_truncated,
            fmt::format("the region has {} bytes but its header says {}; stop its members and "
                        "start the primary anew",
                        file_bytes, header.region_bytes)};
    if (!is_window(header.window_base, header.window_bytes))
        throw error{errc::region_garbage,
                    fmt::format("the region says it lies at {:#x} with {}, which is no slot of the "
                                "window area; stop its members and start the primary anew",
                                header.window_base, bytes_text(header.window_bytes))};
    const auto state = header.state.load(std::memory_order_acquire);  // READY
    if (state != static_cast<std::uint32_t>(region_state::ready))
        throw error{errc::region_garbage,
                    fmt::format("the region is in state {} and not ready (1); try again", state)};
}

}  // namespace cohort
