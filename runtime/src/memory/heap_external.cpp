// Heaps over memory that users bring: rte_malloc_heap_memory_add, _remove, _attach and _detach.

#include "cohort/base/bits.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/memory/heap_blocks.hpp"
#include "cohort/memory/mapping.hpp"
#include "heap_fit.hpp"
#include "heap_guard.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>

#include <fmt/format.h>

#include <sys/mman.h>

namespace cohort {
namespace {

constexpr std::uintptr_t base_page_bytes = 4096;

std::uintptr_t start_of(std::span<std::byte> piece) noexcept
{
    return reinterpret_cast<std::uintptr_t>(piece.data());
}

std::string text_of(std::span<std::byte> piece)
{
    return fmt::format("the memory at {:#x} with {} bytes", start_of(piece), piece.size());
}

constexpr std::uint64_t bit_of(member_id member) noexcept
{
    return std::uint64_t{1} << member;
}

std::string members_in(std::uint64_t bits)
{
    std::string text;
    for (; bits != 0; bits &= bits - 1)
        text += fmt::format("{}{}", text.empty() ? "" : ", ", std::countr_zero(bits));
    return text;
}

void check_shape(std::span<std::byte> piece)
{
    if (start_of(piece) % cache_line_bytes != 0 || piece.size() % cache_line_bytes != 0 ||
        piece.size() < min_external_bytes || piece.size() > max_external_bytes ||
        start_of(piece) + piece.size() < start_of(piece))
        throw error{
            errc::invalid_argument,
            fmt::format("{} cannot be a heap's: address and length must be multiples of {}, "
                        "and the length from {} to {}",
                        text_of(piece), cache_line_bytes, min_external_bytes, max_external_bytes)};
}

/// Asks the kernel, for touching what is not mapped would end the process. The first and the last
/// page are made if they do not exist: the arena's header and end mark lie there.
void check_mapped(std::span<std::byte> piece)
{
    const auto first = align_down(start_of(piece), base_page_bytes);
    const auto end = start_of(piece) + piece.size();
    const auto fails = [&](int result) {
        if (result != 0)
            throw error{errc::invalid_argument,
                        fmt::format("{} is not mapped here to be read and written: {}; map it "
                                    "shared, at the address at which all members have it",
                                    text_of(piece), describe_errno(errno))};
    };
    // With MS_ASYNC the kernel does nothing but look for holes in the mapping.
    fails(::msync(reinterpret_cast<void*>(first), end - first, MS_ASYNC));
    // A private mapping of the right file looks right, until somebody writes.
    if (const auto found = private_mapping_in(first, end - first); !found.empty())
        throw error{
            errc::invalid_argument,
            fmt::format("{} is mapped private here (\"{}\"), so what is written to it stays "
                        "in this process; map it with MAP_SHARED",
                        text_of(piece), found)};
    for (const auto page : {first, align_down(end - 1, base_page_bytes)})
        fails(::madvise(reinterpret_cast<void*>(page), base_page_bytes, MADV_POPULATE_WRITE));
}

}  // namespace

void heap_blocks::construct_external(void* place, std::uint32_t zone_index) noexcept
{
    construct(place, zone_index, any_numa_node, zone_index);
    static_cast<heap_layout*>(place)->external = 1;
}

void heap_blocks::require_external() const
{
    if (heap_.external == 0)
        throw error{errc::no_permission,
                    fmt::format("\"{}\" is the domain's own heap: its memory comes and goes with "
                                "need; create_heap makes one whose memory you bring",
                                name())};
}

void heap_blocks::refuse(const guard& refused) const
{
    const auto answer = refusal(refused);
    throw error{answer.reason, answer.sentence};
}

// --- pieces of memory ----------------------------------------------------------------------------

memzone_layout* heap_blocks::memory_in(std::size_t slot) const noexcept
{
    const auto entry = heap_.memories[slot].load(std::memory_order_relaxed);  // proved by the entry
    if (entry == 0)
        return nullptr;
    auto& zone = memory_.layout().zones[entry - 1];
    return zone.is_live() && zone.kind == zone_kind::heap_arena && zone.is_external() &&
                   zone.parent == heap_.index
               ? &zone
               : nullptr;
}

std::size_t heap_blocks::slot_of(bytes_span piece) const
{
    const auto slots = heap_.memory_slots.load(std::memory_order_relaxed);  // locked
    for (std::size_t slot = 0; slot != slots; ++slot)
        if (const auto* zone = memory_in(slot);
            zone && zone->address == start_of(piece) && zone->length == piece.size())
            return slot;
    throw error{
        errc::not_found,
        fmt::format("{} was not added to the heap \"{}\"; name it by the address and length "
                    "with which it was",
                    text_of(piece), name())};
}

bool heap_blocks::is_attached(member_id member) const noexcept
{
    const auto slots = heap_.memory_slots.load(std::memory_order_acquire);
    for (std::size_t slot = 0; slot != slots; ++slot)
        if (const auto* zone = memory_in(slot); zone && !zone->is_attached(member))
            return false;
    return true;
}

/// Whether a block at `address` would lie in an arena that `finder` may touch.
bool heap_blocks::lies_in_memory(std::uintptr_t address, member_id finder) const noexcept
{
    const auto slots = heap_.memory_slots.load(std::memory_order_acquire);
    for (std::size_t slot = 0; slot != slots; ++slot)
        if (const auto* zone = memory_in(slot);
            zone && zone->is_attached(finder) && address - zone->address < zone->length &&
            address - zone->address >= sizeof(heap_arena_layout) + sizeof(heap_block))
            return true;
    return false;
}

/// There is room: checked before the entry was published, under the same lock.
void heap_blocks::list_memory(const memzone_layout& zone) noexcept
{
    const auto entry = static_cast<std::uint32_t>(memory_.index_of(zone)) + 1;
    auto slots = heap_.memory_slots.load(std::memory_order_relaxed);  // locked
    std::size_t slot = 0;
    while (slot != slots && heap_.memories[slot].load(std::memory_order_relaxed) != 0)  // locked
        ++slot;
    if (slot == max_heap_memories)
        return;
    heap_.memories[slot].store(entry, std::memory_order_relaxed);  // released with the count
    heap_.memory_slots.store(std::max(slots, static_cast<std::uint32_t>(slot) + 1),
                             std::memory_order_release);
}

void heap_blocks::drop_memory(std::size_t slot, actor who) noexcept
{
    auto* zone = memory_in(slot);
    if (zone && memory_.begin_release(*zone, who))
        memory_.release(*zone);
    COHORT_FAULT_POINT("heap.dropped");
    heap_.memories[slot].store(0, std::memory_order_relaxed);  // locked; proved by the entry
}

/// That this process has the same memory there as the one who added it.
void heap_blocks::check_same(const memzone_layout& zone) const
{
    const auto& arena = *static_cast<const heap_arena_layout*>(zone.data());
    const auto units = (zone.length - heap_arena_overhead) / heap_unit_bytes;
    const bool same = arena.magic == heap_arena_layout::magic_value && arena.heap == heap_.index &&
                      arena.zone == memory_.index_of(zone) && arena.units == units &&
                      arena.first()->after(static_cast<std::uint32_t>(units))->load().is_end();
    if (!same)
        throw error{errc::invalid_argument,
                    fmt::format("what is mapped at {:#x} is not the memory that member {} added to "
                                "the heap \"{}\"; map the same file from the same offset, shared",
                                zone.address, zone.creator, name())};
}

// --- when room is short --------------------------------------------------------------------------

/// Any free block in which the request has room: for heaps that do not grow, so that what good fit
/// passes over is not refused.
heap_blocks::fit heap_blocks::search(std::uint32_t units, const heap_request& wanted) const noexcept
{
    for (auto bin = bin_of(units); bin != heap_bins; ++bin)
        for (auto* block = heap_.bins[bin]; block; block = block->in_bin().next) {
            const auto front =
                front_of(reinterpret_cast<std::uintptr_t>(block), wanted.bytes, wanted);
            if (std::uint64_t{front} + units <= block->load().units)
                return {block, front, units};
        }
    return {};
}

std::size_t heap_blocks::largest_free() const noexcept
{
    std::uint32_t largest = 0;
    for (std::size_t i = std::size(heap_.filled); i-- != 0 && largest == 0;)
        if (heap_.filled[i] != 0)
            for (auto* block = heap_.bins[i * 64 + std::bit_width(heap_.filled[i]) - 1]; block;
                 block = block->in_bin().next)
                largest = std::max(largest, block->load().units);
    return largest == 0 ? 0 : largest * heap_unit_bytes - sizeof(heap_block);
}

heap_answer heap_blocks::exhausted(const heap_request& wanted, std::size_t largest) const
{
    return {nullptr, errc::no_memory,
            fmt::format("a block of {} aligned to {} is wanted; the largest free one of the heap "
                        "\"{}\" has {}; add memory to it with add_memory",
                        bytes_text(wanted.bytes), wanted.alignment, name(), bytes_text(largest))};
}

heap_layout* heap_blocks::owner_of(memory& segments, void* payload, member_id finder) noexcept
{
    heap_layout* owner = nullptr;
    for_each_live(segments.layout(), zone_kind::heap, [&](auto& zone) {
        auto* heap = static_cast<heap_layout*>(zone.data());
        if (!owner && heap_blocks{*heap, segments}.find(payload, finder))
            owner = heap;
    });
    return owner;
}

// --- what users call -----------------------------------------------------------------------------

void heap_blocks::add_memory(bytes_span piece, actor who)
{
    require_external();
    check_shape(piece);
    check_mapped(piece);
    const auto arena_name = fmt::format("heap.{}.{}", heap_.index,
                                        heap_.arena_ids.fetch_add(1, std::memory_order_relaxed));
    auto& zone = memory_.reserve_external({.name = arena_name,
                                           .address = start_of(piece),
                                           .length = piece.size(),
                                           .heap = heap_.index},
                                          who);
    auto& arena = construct_arena(zone);
    COHORT_FAULT_POINT("heap.brought");
    const guard held{*this, who};
    const bool room =
        std::any_of(std::begin(heap_.memories), std::end(heap_.memories), [](const auto& slot) {
            return slot.load(std::memory_order_relaxed) == 0;  // locked
        });
    if (!held.held() || !room)
        memory_.release(zone);
    if (!held.held())
        refuse(held);
    if (!room)
        throw error{errc::no_space,
                    fmt::format("the heap \"{}\" has {} pieces of memory, and that is the most; "
                                "remove one, or bring larger ones",
                                name(), max_heap_memories)};
    memory_.publish(zone, who);  // killed from here on, the arena belongs to the heap
    COHORT_FAULT_POINT("heap.memory_live");
    list_memory(zone);
    COHORT_FAULT_POINT("heap.memory_listed");
    add_arena(arena);
}

void heap_blocks::remove_memory(bytes_span piece, actor who)
{
    require_external();
    const guard held{*this, who};
    if (!held.held())
        refuse(held);
    const auto slot = slot_of(piece);
    auto& zone = *memory_in(slot);
    const auto others = zone.attached.load(std::memory_order_relaxed) & ~bit_of(who.member);
    if (others != 0)
        throw error{errc::in_use,
                    fmt::format("{} is attached by others too (member {}), who must call "
                                "detach_memory first",
                                text_of(piece), members_in(others))};
    merge_all_aside(who);
    auto& arena = *static_cast<heap_arena_layout*>(zone.data());
    const auto whole = arena.first()->load();
    if (!whole.is_free() || whole.units != arena.units) {
        std::size_t used = 0;
        for_each_block(arena, [&](const auto&, block_word word) { used += word.is_used(); });
        throw error{errc::in_use,
                    fmt::format("{} has {} blocks in use; free them first", text_of(piece), used)};
    }
    unlist(arena);
    COHORT_FAULT_POINT("heap.removing");
    drop_memory(slot, who);
}

void heap_blocks::attach_memory(bytes_span piece, actor who)
{
    require_external();
    check_shape(piece);
    check_mapped(piece);
    {
        const guard held{*this, who, guard::reach::region};
        if (!held.held())
            refuse(held);
        auto& zone = *memory_in(slot_of(piece));
        check_same(zone);
        zone.attached.fetch_or(bit_of(who.member), std::memory_order_relaxed);  // locked
        COHORT_FAULT_POINT("heap.attached");
    }
    const guard settled{*this, who};  // does what others owe the heap
}

void heap_blocks::detach_memory(bytes_span piece, actor who)
{
    require_external();
    const guard held{*this, who, guard::reach::region};
    if (!held.held())
        refuse(held);
    auto& zone = *memory_in(slot_of(piece));
    zone.attached.fetch_and(~bit_of(who.member), std::memory_order_relaxed);  // locked
    COHORT_FAULT_POINT("heap.detached");
}

void heap_blocks::forget_memory(bytes_span piece, actor who)
{
    require_external();
    {
        const guard held{*this, who, guard::reach::region};
        if (!held.held())
            refuse(held);
        const auto slot = slot_of(piece);
        const auto attached = memory_in(slot)->attached.load(std::memory_order_relaxed);
        if (attached != 0)
            throw error{errc::in_use,
                        fmt::format("{} is attached by member {}, so it is not lost; remove_memory "
                                    "takes it away",
                                    text_of(piece), members_in(attached))};
        heap_.unsound.store(1, std::memory_order_relaxed);  // bins may lead into it; locked
        COHORT_FAULT_POINT("heap.forgetting");
        drop_memory(slot, who);
    }
    const guard settled{*this, who};
}

bool heap_blocks::retire(actor who)
{
    require_external();
    auto& zone = memory_.layout().zones[heap_.index];
    {
        const guard held{*this, who, guard::reach::region};
        if (!held.held())
            refuse(held);
        for_each_used(memory_.layout(), [&](const auto& each) {
            if (each.word().state != zone_state::empty && each.is_external() &&
                each.kind == zone_kind::heap_arena && each.parent == heap_.index)
                throw error{errc::in_use,
                            fmt::format("the heap \"{}\" still has the memory at {:#x} with {} "
                                        "bytes; remove that first",
                                        name(), each.address, each.length)};
        });
        if (!memory_.begin_release(zone, who))
            return false;
        COHORT_FAULT_POINT("heap.retiring");
    }
    memory_.release(zone);  // after the lock, which lies in it
    return true;
}

}  // namespace cohort
