#pragma once
/// What the region records about memory: memseg lists, and one entry for every named span.
///
///   memory_layout             bytes
///   0      lock               guards reservation, growth and giving back
///   64     lists[32]          128 each
///   4160   node_limits, page_limits, places of what follows
///   4288   ever_used[256]     a bit for each zone that has ever been reserved: who walks, walks
///                             these
///   behind the region_layout: zones[zone_count], 128 each, and a map of pages for each list
///
/// There is no free list. What is free is what no entry covers: a reservation is one store of a
/// state word, so a process killed at any instruction leaves either no entry or one whose state
/// names it, and survivors undo that one.
///
/// Pages (page_map.hpp): the bit of a page is set after the page exists, and cleared before it is
/// given back, both under the lock. All pages under an entry that is not EMPTY have their bit. Who
/// takes the lock over from a dead holder gives back whatever has no bit (page_supply.hpp).
///
/// States of an entry, and who may move it (word = { generation:32 | member:16 | state:8 | 0:8 }):
///
///   EMPTY -> INIT(m)    m, holding the lock; name and span are written first
///   INIT(m) -> LIVE     m, when the object inside is complete (PUBLISHED)
///   LIVE -> DYING(m)    m, by CAS: one winner
///   INIT(m) | DYING(m) -> EMPTY   m, or the reaper of the dead m
///
/// But a pool chunk in INIT(m) that its pool lists goes LIVE by the reaper of the dead m
/// (pool_growth.hpp).
///
/// The generation rises at EMPTY -> INIT and lets handles detect use after free.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/fixed_name.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/memory/page_size.hpp"
#include "cohort/sync/owner_lock.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace cohort {

using member_id = std::uint16_t;  ///< 0 = no member

/// Who acts: the lane for locks, the member for ownership.
struct actor {
    lane_id lane = 0;
    member_id member = 0;
};

inline constexpr std::size_t max_numa_nodes = 8;
inline constexpr std::size_t max_memseg_lists = 32;  ///< a list for each page size on each node
inline constexpr std::uint32_t usual_zones = 4096;
inline constexpr std::uint32_t max_zones = 16383;  ///< ring indices in custody words have 14 bits

/// Where the pages of a list come from.
enum class page_backing : std::uint8_t { memfd = 0, hugetlbfs = 1 };

/// The `list` of an entry over memory that users brought: in no list, and not in the window. Only
/// heap arenas have it. A process may touch such memory only if it has it mapped, see `attached`.
inline constexpr std::uint16_t external_list = 0xffff;

/// A list of segments (pages) of one size on one node. Pages whose bit is clear are holes that
/// nobody may touch, for reading a hole makes a page.
struct alignas(cache_line_bytes) memseg_list_layout {
    std::uint64_t page_bytes = 0;  ///< 0 = this list is not used
    std::int32_t numa_node = 0;
    page_backing backing{};
    std::uint8_t transparent = 0;  ///< 1 = transparent hugepages are asked for
    std::uint16_t reserved_ = 0;
    std::uint64_t base = 0;                          ///< address in the window
    std::uint64_t max_bytes = 0;                     ///< length of the file and of the mapping
    std::uint64_t kept_bytes = 0;                    ///< from the start on: never given back
    std::atomic<std::uint64_t>* page_map = nullptr;  ///< a bit for each page, behind the zones
    std::atomic<std::uint64_t> published{0};         ///< bytes of pages with their bit set
    std::atomic<std::uint64_t> high_water{0};        ///< bytes ever handed out; above all is zero
    std::atomic<std::uint64_t> top{0};  ///< bytes: no page from here on has its bit set
    std::atomic<std::uint64_t> growths{0};
    std::atomic<std::uint64_t> give_backs{0};
    std::uint64_t reserved2_[5]{};
};
static_assert(shared_layout<memseg_list_layout> && sizeof(memseg_list_layout) == 128);

enum class zone_kind : std::uint32_t {
    memzone = 1,
    ring = 2,
    mempool = 3,
    port = 4,
    heap = 5,
    heap_arena = 6,
    object = 7,
    pool_chunk = 8,
    capture = 9,  ///< what passes the port of that name
};

enum class zone_state : std::uint8_t { empty = 0, init = 1, live = 2, dying = 3 };

/// The state word of an entry, unpacked.
struct zone_word {
    std::uint32_t generation = 0;
    member_id member = 0;
    zone_state state = zone_state::empty;

    [[nodiscard]] static constexpr zone_word unpack(std::uint64_t word) noexcept
    {
        return {static_cast<std::uint32_t>(word >> 32), static_cast<member_id>(word >> 16),
                static_cast<zone_state>(word >> 8)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        return std::uint64_t{generation} << 32 | std::uint64_t{member} << 16 |
               std::uint64_t{static_cast<std::uint8_t>(state)} << 8;
    }
    bool operator==(const zone_word&) const = default;
};

/// Set when a node was only hinted at and the span lies on another one.
inline constexpr std::uint32_t zone_off_node = 1;

struct memzone_layout {
    std::atomic<std::uint64_t> state{0};
    std::atomic<zone_kind> kind{};  ///< released by INIT's writer: see fixed_name::peek
    std::uint16_t list = 0;         ///< index into lists, or external_list
    member_id creator = 0;
    std::uint64_t address = 0;
    std::uint64_t length = 0;      ///< bytes, a multiple of 64
    std::uint64_t created_ns = 0;  ///< monotonic clock
    fixed_name<32> name;
    std::uint32_t flags = 0;   ///< zone_off_node
    std::uint32_t parent = 0;  ///< of a heap arena, or pool chunk: index of the whole's entry
    /// Of external memory: bit m = member m has it mapped at this address and may touch it.
    ///   0 -> 1   m alone, holding the heap's lock; the one who adds the memory, before INIT
    ///   1 -> 0   m alone, holding the heap's lock; or the reaper of the dead m, without it, before
    ///            m's slot is used again: so a bit never speaks of another generation of the slot
    /// The entry goes LIVE -> DYING only while nobody but the remover has its bit set.
    std::atomic<std::uint64_t> attached{0};
    std::uint64_t reserved2_[5]{};

    [[nodiscard]] zone_word word() const noexcept
    {
        return zone_word::unpack(state.load(std::memory_order_acquire));  // PUBLISHED
    }
    [[nodiscard]] bool is_live() const noexcept { return word().state == zone_state::live; }
    /// The object of that generation, for whoever made it or found it before: not so once it goes.
    [[nodiscard]] bool is_there(std::uint32_t generation) const noexcept
    {
        const auto seen = word();
        return seen.generation == generation &&
               (seen.state == zone_state::live || seen.state == zone_state::init);
    }
    [[nodiscard]] void* data() const noexcept { return reinterpret_cast<void*>(address); }
    [[nodiscard]] bool is_external() const noexcept { return list == external_list; }
    [[nodiscard]] bool is_attached(member_id member) const noexcept
    {
        // The heap's lock orders it for those who hold that; each reads its own bit.
        return (attached.load(std::memory_order_relaxed) >> member & 1) != 0;
    }
};
static_assert(shared_layout<memzone_layout> && sizeof(memzone_layout) == 128);

struct memory_layout {
    alignas(cache_line_bytes) owner_lock lock;
    memseg_list_layout lists[max_memseg_lists];
    std::uint64_t node_limits[max_numa_nodes]{};  ///< bytes of published pages; 0 = no limit
    std::uint64_t page_limits[3]{};               ///< for 4 KiB, 2 MiB, 1 GiB pages; 0 = no limit
    std::uint32_t zone_count = 0;                 ///< entries in `zones`, of all kinds together
    std::uint32_t list_count = 0;                 ///< lists in use: the first ones
    std::uint32_t emulated_nodes = 0;             ///< 0 = the nodes are the machine's
    std::uint32_t reserved_ = 0;
    memzone_layout* zones = nullptr;  ///< behind the region_layout
    /// Bit m = member m wants to hear of memory events. Set by m, cleared by m's reaper.
    std::atomic<std::uint64_t> event_listeners{0};
    std::uint64_t reserved2_{};
    /// Set, never cleared, under the lock and before a zone's first INIT.
    std::atomic<std::uint64_t> ever_used[(max_zones + 1) / 64]{};
};
static_assert(shared_layout<memory_layout>);
static_assert(offsetof(memory_layout, lists) == 64 && offsetof(memory_layout, node_limits) == 4160);
static_assert(offsetof(memory_layout, ever_used) == 4288);

/// The list whose pages have that address; nullptr when none does. The page may be a hole.
[[nodiscard]] inline const memseg_list_layout* list_of(const memory_layout& memory,
                                                       std::uintptr_t address) noexcept
{
    for (std::size_t i = 0; i != memory.list_count; ++i)
        if (address - memory.lists[i].base < memory.lists[i].max_bytes)
            return &memory.lists[i];
    return nullptr;
}

/// Calls `visit(zone)` for each entry that is or was in use. Reads only; fit for observers.
template <typename Memory, typename Visit>
void for_each_used(Memory& memory, Visit&& visit)
{
    const auto words =
        std::min<std::size_t>((memory.zone_count + 63) / 64, std::size(memory.ever_used));
    for (std::size_t i = 0; i != words; ++i) {
        auto bits = memory.ever_used[i].load(std::memory_order_acquire);  // USED
        for (; bits != 0; bits &= bits - 1)
            visit(memory.zones[i * 64 + static_cast<std::size_t>(std::countr_zero(bits))]);
    }
}

/// Calls `visit(zone)` for each live entry of one kind. Reads only; fit for observers.
template <typename Memory, typename Visit>
void for_each_live(Memory& memory, zone_kind kind, Visit&& visit)
{
    for_each_used(memory, [&](auto& zone) {
        const auto seen = zone.word();
        if (seen.state == zone_state::live && zone.kind.load(std::memory_order_acquire) == kind &&
            zone.word() == seen)  // the kind was not rewritten between
            visit(zone);
    });
}

}  // namespace cohort
