#pragma once
/// What the region records about deaths.

#include "cohort/member/member_layout.hpp"

namespace cohort {

inline constexpr std::size_t max_obituaries = 64;  ///< the newest are kept

/// One dead (or left) member: what it held and where that went. Packets are counted by their heads,
/// buffers by segments. A reaper killed between a batch and its count leaves that batch uncounted.
struct alignas(cache_line_bytes) obituary_layout {
    std::atomic<std::uint64_t> number{0};  ///< 1, 2, 3 ...; 0 while it is being written
    member_id member = 0;
    std::uint16_t orderly = 0;  ///< 1 = it left, 0 = it died
    std::uint32_t generation = 0;
    std::int32_t pid = 0;
    std::uint32_t lanes = 0;
    std::uint64_t found_ns = 0;               ///< monotonic clock: when the reaper began
    std::atomic<std::uint64_t> reaped_ns{0};  ///< ... and ended
    std::atomic<std::uint64_t> cached{0};     ///< free buffers in its caches
    std::atomic<std::uint64_t> received{0};   ///< packets it had taken from rings and not passed on
    std::atomic<std::uint64_t> released{0};   ///< buffers that went back to their pools
    std::atomic<std::uint64_t> redelivered{0};  ///< packets put into a redelivery ring
    std::atomic<std::uint64_t> waiting{0};      ///< packets for which that ring had no room at once
    std::uint64_t entries_undone = 0;           ///< half-created or half-destroyed objects
    fixed_name<64> name;
};
static_assert(shared_layout<obituary_layout> && sizeof(obituary_layout) == 192);

struct recovery_layout {
    alignas(cache_line_bytes) owner_lock lock;   ///< one reaper at a time
    std::atomic<std::uint64_t> deaths{0};        ///< obituaries ever begun
    std::atomic<std::uint64_t> lanes_reaped{0};  ///< lanes that died alone, their member living
    /// Not 0 while buffers may wait for a redelivery ring, or have been given to the dead.
    std::atomic<std::uint32_t> some_wait{0};
    obituary_layout obituaries[max_obituaries];
};
static_assert(shared_layout<recovery_layout>);

}  // namespace cohort
