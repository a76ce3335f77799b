#pragma once
/// Members and lanes as the region records them.
///
/// member word = { generation:32 | 0:24 | state:8 }
///   EMPTY -> JOINING    the newcomer, after locking its byte of the lock file
///   JOINING -> LIVE     the newcomer
///   LIVE -> DYING       a survivor that saw the death, or the member itself when it leaves
///   JOINING -> DYING    a survivor that saw the death
///   DYING -> EMPTY      the reaper, when nothing in the region names the member any more
///
/// lane word = { generation:32 | member:16 | 0:8 | state:8 }
///   FREE | ORPHAN(m) -> ENTERING(m)   a thread of m; the generation rises
///   ENTERING(m) -> LIVE(m)            the thread, holding the sentinel
///   LIVE(m) -> LEAVING(m) -> FREE     the thread; it flushes and releases while LEAVING
///   LIVE, ENTERING, LEAVING -> DEAD   the reaper: the sentinel has died, or the member has
///   ORPHAN(m) -> DEAD                 the reaper of the dead member
///   DEAD -> FREE                      the same, when the lane is scrubbed from everything
///   DEAD -> ORPHAN(m)                 the reaper of the lane, its member still living: the lane's
///                                     caches hold buffers of m, so only m may use the lane again
///
/// *Lane death is not member death.* The death of a lane permits rolling back its claims and locks.
/// Buffers and spans are taken only when the member is dead.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/fixed_name.hpp"
#include "cohort/member/reference_layout.hpp"
#include "cohort/memory/memory_layout.hpp"
#include "cohort/sync/doorbell.hpp"
#include "cohort/sync/sentinel.hpp"

#include <atomic>
#include <cstdint>

namespace cohort {

inline constexpr std::size_t max_members = 64;  ///< slot 0 is never used
inline constexpr std::size_t max_offers = 32;   ///< action names a member can offer at a time

enum class member_state : std::uint8_t { empty = 0, joining = 1, live = 2, dying = 3 };
enum class member_role : std::uint32_t { none = 0, primary = 1, secondary = 2 };

struct member_word {
    std::uint32_t generation = 0;
    member_state state = member_state::empty;

    [[nodiscard]] static constexpr member_word unpack(std::uint64_t word) noexcept
    {
        return {static_cast<std::uint32_t>(word >> 32), static_cast<member_state>(word & 0xff)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        return std::uint64_t{generation} << 32 | static_cast<std::uint8_t>(state);
    }
};

struct alignas(cache_line_bytes) member_layout {
    std::atomic<std::uint64_t> state{0};
    std::int32_t pid = 0;  ///< in the member's own PID namespace
    member_role role{};
    std::uint64_t start_time = 0;     ///< clock ticks since boot, /proc/PID/stat field 22
    std::uint64_t pid_namespace = 0;  ///< inode of /proc/self/ns/pid
    std::uint64_t joined_ns = 0;      ///< monotonic clock
    std::uint32_t epoch = 0;          ///< the primary's epoch at the time of joining
    std::int32_t control_fd = -1;     ///< descriptor number of the region in the member's process
    fixed_name<64> name;
    fixed_name<64> offers[max_offers];               ///< action names; an empty one is free
    std::atomic<std::uint32_t> offer_generation{0};  ///< raised after each change of the list
    doorbell_layout mailbox_bell;

    [[nodiscard]] member_word word() const noexcept
    {
        return member_word::unpack(state.load(std::memory_order_acquire));  // JOINED
    }
};
static_assert(shared_layout<member_layout>);

enum class lane_state : std::uint8_t { free = 0, entering, live, leaving, dead, orphan };

struct lane_word {
    std::uint32_t generation = 0;
    member_id member = 0;
    lane_state state = lane_state::free;

    [[nodiscard]] static constexpr lane_word unpack(std::uint64_t word) noexcept
    {
        return {static_cast<std::uint32_t>(word >> 32), static_cast<member_id>(word >> 16),
                static_cast<lane_state>(word & 0xff)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        return std::uint64_t{generation} << 32 | std::uint64_t{member} << 16 |
               static_cast<std::uint8_t>(state);
    }
};

struct alignas(cache_line_bytes) lane_layout {
    std::atomic<std::uint64_t> state{0};
    sentinel_layout sentinel;
    std::int32_t tid = 0;   ///< in the member's own PID namespace
    std::int32_t cpu = -1;  ///< where it is pinned, -1 = anywhere
    std::uint64_t entered_ns = 0;
    fixed_name<32> name;

    [[nodiscard]] lane_word word() const noexcept
    {
        return lane_word::unpack(state.load(std::memory_order_acquire));  // ENTERED
    }
};
static_assert(shared_layout<lane_layout> && sizeof(lane_layout) == 128);

struct member_table_layout {
    member_layout members[max_members];
    lane_layout lanes[max_lanes];
    lane_references references[max_lanes];
    /// Not 0: buffers may wait for a member that knows how to free their external memory.
    std::atomic<std::uint32_t> external_waits{0};
};
static_assert(shared_layout<member_table_layout>);

}  // namespace cohort
