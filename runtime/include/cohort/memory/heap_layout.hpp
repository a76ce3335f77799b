#pragma once
/// What the region records about a heap: blocks of any size, in arenas that come and go.
///
///   heap_layout (a zone of kind heap)        arena (a zone of kind heap_arena)
///   lock                                     0        heap_arena_layout, 64
///   counters                                 64       block | block | block ... up to the end mark
///   bins: lists of free blocks by size       n - 32   end mark (a header of 0 units), arena
///   address type names
///
///   block: header 16 | what the user gets, a multiple of 16 bytes
///
/// The truth is the chain: from the first block on, `units` leads to the next one. Each change of
/// it, a split, a merge, a use or a release, is one store of one header's `word`; what that store
/// uncovers has been written before. So the chain can be walked after a death at any instruction.
/// All else (`free_before`, links, bins, counters) follows from the chain and is made anew by who
/// takes the lock over from a dead holder.
///
/// A small block that is freed is first put aside as it is, on a list of its very size, and is the
/// first to be used again: neither touches a neighbour. Neighbours take it for used; it is merged
/// when its list is full, when memory is short, or by `trim`.
///
/// Good fit after TLSF (Masmano and others, 2004): a size selects its bin by two bit scans.
///
/// An external heap has its arenas in memory that users bring; this structure lies in the region
/// all the same. Its lock can be taken by anybody, its blocks be touched only by who has attached
/// all of its memory. What others owe it they write down, under the lock, for the next one who has:
///
///   unsound   0 -> 1   whoever takes the lock over from a dead holder, or forgets memory
///             1 -> 0   who has attached all, when bins and counters are made anew
///   debts[m]  blocks that go with member m, of that generation of its slot and before, are to be
///             released; 0 = none. Set by m's reaper, then m's bit in owed; cleared, in the same
///             order, by who has attached all, when the blocks are released
///
/// Both are looked at by each who has attached all, right after the lock is taken.

#include "cohort/base/fixed_name.hpp"
#include "cohort/memory/memory_layout.hpp"

#include <algorithm>

namespace cohort {

inline constexpr std::size_t heap_unit_bytes = 16;  ///< blocks begin at and have multiples of it
inline constexpr std::uint32_t min_block_units = 2;

/// The `word` of a block header, unpacked. One store of it is one step of the chain.
struct block_word {
    static constexpr std::uint8_t used = 1;
    static constexpr std::uint8_t mortal = 2;  ///< released when its owner is dead
    static constexpr std::uint8_t end = 4;
    static constexpr std::uint8_t aside = 8;  ///< free, but not to be merged yet

    std::uint32_t units = 0;  ///< header included
    std::uint16_t owner_generation = 0;
    std::uint8_t check = 0;  ///< of the block's address: stray pointers rarely have it
    std::uint8_t flags = 0;

    [[nodiscard]] static constexpr block_word unpack(std::uint64_t word) noexcept
    {
        return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint16_t>(word >> 16),
                static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        return std::uint64_t{units} << 32 | std::uint64_t{owner_generation} << 16 |
               std::uint64_t{check} << 8 | flags;
    }
    [[nodiscard]] constexpr bool is_free() const noexcept { return flags == 0; }
    [[nodiscard]] constexpr bool is_used() const noexcept { return (flags & used) != 0; }
    [[nodiscard]] constexpr bool is_aside() const noexcept { return flags == aside; }
    [[nodiscard]] constexpr bool is_end() const noexcept { return flags == end; }
};

/// A block's header. A used one stands nowhere but in front of a used block. Free, the links of its
/// bin lie behind it.
struct heap_block {
    std::atomic<std::uint64_t> word{0};
    std::atomic<std::uint32_t> free_before{0};  ///< units of the block before, if that one is free
    std::atomic<std::uint16_t> heap{0};         ///< of a used one: index of its heap's entry
    std::atomic<std::uint8_t> owner{0};         ///< of a used one: a member
    std::atomic<std::uint8_t> type{0};

    struct links {
        heap_block* next;
        heap_block* previous;
    };

    [[nodiscard]] block_word load() const noexcept
    {
        return block_word::unpack(word.load(std::memory_order_acquire));  // CHAINED
    }
    [[nodiscard]] std::uint8_t address_check() const noexcept
    {
        return static_cast<std::uint8_t>(
            (reinterpret_cast<std::uintptr_t>(this) >> 4) * 0x9e3779b97f4a7c15u >> 56);
    }
    /// The step: what it uncovers was written before.
    void store(std::uint32_t units, std::uint8_t flags, std::uint32_t generation = 0) noexcept
    {
        const block_word made{units, static_cast<std::uint16_t>(generation), address_check(),
                              flags};
        word.store(made.pack(), std::memory_order_release);  // CHAINED
    }
    [[nodiscard]] heap_block* after(std::uint32_t units) noexcept
    {
        return reinterpret_cast<heap_block*>(reinterpret_cast<std::byte*>(this) +
                                             units * heap_unit_bytes);
    }
    [[nodiscard]] const heap_block* after(std::uint32_t units) const noexcept
    {
        return const_cast<heap_block*>(this)->after(units);
    }
    [[nodiscard]] void* payload() noexcept { return this + 1; }
    [[nodiscard]] links& in_bin() noexcept { return *reinterpret_cast<links*>(this + 1); }

    [[nodiscard]] static heap_block* of(void* payload) noexcept
    {
        return static_cast<heap_block*>(payload) - 1;
    }
};
static_assert(shared_layout<heap_block> && sizeof(heap_block) == heap_unit_bytes);

struct heap_arena_layout {
    static constexpr std::uint64_t magic_value = 0x31414e4552414843;  // "CHARENA1"

    std::uint64_t magic = magic_value;
    std::uint32_t heap = 0;   ///< zone index of its heap
    std::uint32_t zone = 0;   ///< its own zone index
    std::uint64_t units = 0;  ///< of all blocks together, without the end mark
    std::uint64_t reserved_[5]{};

    [[nodiscard]] heap_block* first() noexcept { return reinterpret_cast<heap_block*>(this + 1); }
    [[nodiscard]] const heap_block* first() const noexcept
    {
        return reinterpret_cast<const heap_block*>(this + 1);
    }

    /// The arena whose end mark this is.
    [[nodiscard]] static heap_arena_layout* ended_by(heap_block* mark) noexcept
    {
        return *static_cast<heap_arena_layout**>(mark->payload());
    }
};
static_assert(shared_layout<heap_arena_layout> && sizeof(heap_arena_layout) == 64);

inline constexpr std::size_t heap_arena_overhead = sizeof(heap_arena_layout) + 2 * heap_unit_bytes;
inline constexpr std::uint64_t max_heap_block = std::uint64_t{1} << 35;  ///< bytes
/// Of one piece of external memory: the units of an arena have 32 bits.
inline constexpr std::uint64_t max_external_bytes = std::uint64_t{1} << 36;
inline constexpr std::uint64_t min_external_bytes = 4096;
inline constexpr std::size_t max_heap_memories = 64;  ///< pieces of external memory in one heap

// Bins: one for each size below 32 units, then 16 for each power of two.
inline constexpr std::size_t heap_bins = 32 + 27 * 16;

/// The bin in which a block of that size lies.
[[nodiscard]] constexpr std::size_t bin_of(std::uint32_t units) noexcept
{
    if (units < 32)
        return units;
    const auto power = static_cast<std::uint32_t>(std::bit_width(units)) - 1;
    return 32 + (power - 5) * 16 + ((units >> (power - 4)) & 15);
}

/// The first bin of which each block has at least that size.
[[nodiscard]] constexpr std::size_t bin_for(std::uint32_t units) noexcept
{
    if (units < 32)
        return units;
    const auto power = static_cast<std::uint32_t>(std::bit_width(units)) - 1;
    return bin_of(units + (1u << (power - 4)) - 1);
}
static_assert(bin_of(31) == 31 && bin_of(32) == 32 && bin_of(0xffffffff) == heap_bins - 1);

inline constexpr std::uint32_t aside_sizes = 258;  ///< blocks of fewer units: up to 4096 bytes
inline constexpr std::uint32_t max_aside = 8;      ///< of each size

inline constexpr std::size_t max_heap_types = 256;  ///< 0 = untyped

/// Counted under the lock; made anew by a repair. Read by anybody.
struct heap_counters {
    std::atomic<std::uint64_t> arenas{0};
    std::atomic<std::uint64_t> free_arenas{0};  ///< arenas that are one free block
    std::atomic<std::uint64_t> bytes{0};        ///< of all arenas
    std::atomic<std::uint64_t> used_bytes{0};   ///< headers included
    std::atomic<std::uint64_t> used_blocks{0};
    std::atomic<std::uint64_t> free_blocks{0};  ///< in bins
    std::atomic<std::uint64_t> aside_blocks{0};
    std::atomic<std::uint64_t> mortal_blocks{0};  ///< to be released with their owner
};

struct heap_layout {
    static constexpr std::uint64_t magic_value = 0x3150414548524f43;  // "CORHEAP1"

    std::uint64_t magic = 0;
    std::int32_t numa_node = 0;
    std::uint32_t index = 0;                  ///< of its own zone
    std::atomic<std::uint32_t> arena_ids{0};  ///< for the names of arenas
    std::atomic<std::uint32_t> type_count{0};
    std::atomic<std::uint64_t> repairs{0};    ///< lock taken over from a dead holder
    std::atomic<std::uint64_t> bad_frees{0};  ///< pointers that were no used block of this heap
    std::uint32_t external = 0;               ///< 1 = over memory that users bring; never changes
    std::atomic<std::uint32_t> unsound{0};    ///< 1 = bins and counters are to be made anew
    std::atomic<std::uint64_t> owed{0};       ///< a bit for each member with a debt
    /// Slots in use in `memories`, holes included; raised only. Follows from the entries.
    std::atomic<std::uint32_t> memory_slots{0};
    /// Index of the heap that has the names of this one's block types: itself, or, for the heaps
    /// of nodes, the one of node 0, so that a type is the same on all. Never changes.
    std::uint32_t names_of = 0;
    alignas(cache_line_bytes) owner_lock lock;
    heap_counters counters;
    alignas(cache_line_bytes) std::uint64_t filled[8]{};  ///< a bit for each bin with a block
    heap_block* bins[heap_bins]{};
    heap_block* aside[aside_sizes]{};
    std::uint32_t aside_count[aside_sizes]{};
    fixed_name<32> types[max_heap_types];
    /// 1 + index of the entry of each piece of external memory, 0 = a hole. Follows from the
    /// entries; no slot moves, so that who looks without the lock misses none.
    std::atomic<std::uint32_t> memories[max_heap_memories]{};
    std::atomic<std::uint32_t> debts[64]{};
};
static_assert(shared_layout<heap_layout>);
static_assert(heap_bins <= 8 * 64);
static_assert(max_zones <= 0xffff && max_heap_types <= 0x100);  // as blocks name them

/// The heap that has the names of `heap`'s block types.
[[nodiscard]] inline const heap_layout& names_of(const memory_layout& memory,
                                                 const heap_layout& heap) noexcept
{
    return heap.names_of == heap.index
               ? heap
               : *static_cast<const heap_layout*>(memory.zones[heap.names_of].data());
}

/// Calls `visit(block, word)` along the chain. False when the chain is broken: a header that is
/// none, or a step past the end. A walk without the lock may meet that by chance; then walk again.
template <typename Arena, typename Visit>
bool for_each_block(Arena& arena, Visit&& visit)
{
    auto* block = arena.first();
    for (std::uint64_t left = arena.units; left != 0;) {
        const auto word = block->load();
        if (word.units < min_block_units || word.units > left ||
            word.check != block->address_check() || word.is_end())
            return false;
        auto* next = block->after(word.units);
        visit(*block, word);
        left -= word.units;
        block = next;
    }
    return block->load().is_end();
}

/// Calls `visit(arena)` for each live arena of one heap that `viewer` may touch; an observer is
/// member 0 and has no external memory attached.
template <typename Memory, typename Visit>
void for_each_arena(Memory& memory, const heap_layout& heap, member_id viewer, Visit&& visit)
{
    for_each_live(memory, zone_kind::heap_arena, [&](auto& zone) {
        // Its own arenas only: another heap's may be given back while it is looked at.
        if (zone.parent != heap.index || (zone.is_external() && !zone.is_attached(viewer)))
            return;
        auto& arena = *static_cast<heap_arena_layout*>(zone.data());
        // The length too: without the lock, an arena may be given back while one looks at it.
        if (arena.magic == heap_arena_layout::magic_value && arena.heap == heap.index &&
            arena.units * heap_unit_bytes + heap_arena_overhead <= zone.length)
            visit(arena);
    });
}

}  // namespace cohort
