#include "cohort/memory/heap_blocks.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "heap_fit.hpp"
#include "heap_guard.hpp"

#include <algorithm>
#include <bit>
#include <new>

#include <fmt/format.h>

namespace cohort {
namespace {

std::string complaint_about(const heap_request& wanted)
{
    if (wanted.bytes > max_heap_block)
        return fmt::format("a block of {} is wanted; the largest has {}", bytes_text(wanted.bytes),
                           bytes_text(max_heap_block));
    if (!std::has_single_bit(wanted.alignment) || wanted.alignment > max_heap_block)
        return fmt::format("the alignment {} of a block must be a power of two of at most {}",
                           wanted.alignment, max_heap_block);
    if (wanted.boundary != 0 &&
        (!std::has_single_bit(wanted.boundary) || wanted.boundary < wanted.bytes ||
         wanted.boundary > max_heap_block))
        return fmt::format("the boundary {} of a block must be a power of two from its length {} "
                           "to {}",
                           wanted.boundary, wanted.bytes, max_heap_block);
    return {};
}

}  // namespace

std::uint32_t heap_blocks::units_for(std::size_t bytes) noexcept
{
    if (bytes > max_heap_block)
        return 0;
    const auto whole = align_up(bytes + sizeof(heap_block), heap_unit_bytes) / heap_unit_bytes;
    return std::max(static_cast<std::uint32_t>(whole), min_block_units);
}

void heap_blocks::construct(void* place, std::uint32_t zone_index, int numa_node,
                            std::uint32_t names_index) noexcept
{
    auto& heap = *::new (place) heap_layout;
    heap.numa_node = numa_node;
    heap.index = zone_index;
    heap.names_of = names_index;
    heap.magic = heap_layout::magic_value;
}

std::string_view heap_blocks::name() const noexcept
{
    return memory_.layout().zones[heap_.index].name.view();
}

// --- bins: all under the lock --------------------------------------------------------------------

void heap_blocks::link(heap_block* block, std::uint32_t units) noexcept
{
    const auto bin = bin_of(units);
    auto*& head = heap_.bins[bin];
    block->in_bin() = {head, nullptr};
    if (head)
        head->in_bin().previous = block;
    head = block;
    heap_.filled[bin / 64] |= std::uint64_t{1} << bin % 64;
}

void heap_blocks::unlink(heap_block* block, std::uint32_t units) noexcept
{
    const auto [next, previous] = block->in_bin();
    if (next)
        next->in_bin().previous = previous;
    if (previous) {
        previous->in_bin().next = next;
        return;
    }
    const auto bin = bin_of(units);
    heap_.bins[bin] = next;
    if (!next)
        heap_.filled[bin / 64] &= ~(std::uint64_t{1} << bin % 64);
}

/// Any block of the first bin that has one and whose blocks are all large enough.
heap_block* heap_blocks::first_at_least(std::uint32_t units) const noexcept
{
    const auto from = bin_for(units);
    auto bits = heap_.filled[from / 64] >> from % 64 << from % 64;
    for (auto i = from / 64;; bits = heap_.filled[i]) {
        if (bits != 0)
            return heap_.bins[i * 64 + static_cast<std::size_t>(std::countr_zero(bits))];
        if (++i == std::size(heap_.filled))
            return nullptr;
    }
}

heap_blocks::fit heap_blocks::find_fit(std::uint32_t units,
                                       const heap_request& wanted) const noexcept
{
    const auto enough = with_slack(units, wanted);
    if (enough > UINT32_MAX)
        return {};
    auto* block = first_at_least(static_cast<std::uint32_t>(enough));
    if (!block)
        return {};
    return {block, front_of(reinterpret_cast<std::uintptr_t>(block), wanted.bytes, wanted), units};
}

// --- the steps -----------------------------------------------------------------------------------

/// Turns (a part of) a free block into a used one. The last store to the chain uncovers all of it.
heap_block* heap_blocks::use(const fit& where, const heap_request& wanted, member_id owner,
                             std::uint32_t generation) noexcept
{
    auto* const whole = where.block;
    const auto total = whole->load().units;
    auto* const block = whole->after(where.front);
    auto units = where.units;
    auto rest = total - where.front - units;
    if (rest < min_block_units) {
        units += rest;
        rest = 0;
    }
    auto* const end = whole->after(total);

    unlink(whole, total);
    if (end->load().is_end() && end->free_before.load(std::memory_order_relaxed) ==
                                    heap_arena_layout::ended_by(end)->units)  // locked
        add(heap_.counters.free_arenas, ~std::uint64_t{0});
    COHORT_FAULT_POINT("heap.unlinked");
    auto* const tail = block->after(units);
    if (rest != 0) {
        tail->store(rest, 0);
        tail->free_before.store(0, std::memory_order_relaxed);  // locked
    }
    stamp(block, units, wanted, owner, generation);
    if (where.front != 0) {
        COHORT_FAULT_POINT("heap.split");
        whole->store(where.front, 0);
        block->free_before.store(where.front, std::memory_order_relaxed);  // locked
        link(whole, where.front);
    }
    COHORT_FAULT_POINT("heap.used");
    end->free_before.store(rest, std::memory_order_relaxed);  // locked
    if (rest != 0)
        link(tail, rest);

    const std::uint64_t made = (where.front != 0) + (rest != 0);
    add(heap_.counters.free_blocks, made - 1);
    return block;
}

/// The step to used.
void heap_blocks::stamp(heap_block* block, std::uint32_t units, const heap_request& wanted,
                        member_id owner, std::uint32_t generation) noexcept
{
    const bool mortal = wanted.kept == lifetime::member;
    add(heap_.counters.used_bytes, bytes_of(units));
    add(heap_.counters.used_blocks, 1);
    add(heap_.counters.mortal_blocks, mortal);
    // All three are CHAINED with the word.
    block->heap.store(static_cast<std::uint16_t>(heap_.index), std::memory_order_relaxed);
    block->owner.store(static_cast<std::uint8_t>(owner), std::memory_order_relaxed);
    block->type.store(static_cast<std::uint8_t>(wanted.type), std::memory_order_relaxed);
    const std::uint8_t flags = mortal ? block_word::used | block_word::mortal : block_word::used;
    block->store(units, flags, generation);
}

/// A block of that very size which was put aside, or nullptr.
heap_block* heap_blocks::use_aside(std::uint32_t units, const heap_request& wanted, member_id owner,
                                   std::uint32_t generation) noexcept
{
    if (units >= aside_sizes || wanted.alignment > heap_unit_bytes || wanted.boundary != 0 ||
        !heap_.aside[units])
        return nullptr;
    auto* block = heap_.aside[units];
    heap_.aside[units] = block->in_bin().next;
    --heap_.aside_count[units];
    add(heap_.counters.aside_blocks, ~std::uint64_t{0});
    COHORT_FAULT_POINT("heap.fetched");
    stamp(block, units, wanted, owner, generation);
    return block;
}

heap_answer heap_blocks::refusal(const guard& refused) const
{
    if (refused.lacks_memory())
        return {nullptr, errc::not_attached,
                fmt::format("the heap \"{}\" has memory that this process has not attached; map it "
                            "at the same address and call attach_memory",
                            name())};
    return {nullptr, errc::stalled,
            fmt::format("the heap \"{}\" is held by live lane {} for more than {} ms; see "
                        "\"cohort lanes\"",
                        name(), heap_.lock.holder(), patience.count())};
}

heap_answer heap_blocks::allocate(const heap_request& wanted, actor who, std::uint32_t generation)
{
    if (auto complaint = complaint_about(wanted); !complaint.empty())
        return {nullptr, errc::invalid_argument, std::move(complaint)};
    const auto units = units_for(wanted.bytes);
    std::size_t largest = 0;
    {
        const guard held{*this, who};
        if (!held.held())
            return who.lane != 0 ? refusal(held)
                                 : heap_answer{nullptr, errc::no_space,
                                               "this thread has no lane: all are in use"};
        if (auto* block = use_aside(units, wanted, who.member, generation))
            return {.block = block};
        auto found = find_fit(units, wanted);
        if (!found.block && heap_.counters.aside_blocks.load(std::memory_order_relaxed) != 0) {
            merge_all_aside(who);
            found = find_fit(units, wanted);
        }
        if (!found.block && heap_.external != 0)
            found = search(units, wanted);
        if (found.block)
            return {.block = use(found, wanted, who.member, generation)};
        largest = heap_.external != 0 ? largest_free() : 0;
    }
    if (heap_.external != 0)
        return exhausted(wanted, largest);
    return grow(units, wanted, who, generation);
}

void heap_blocks::free_locked(heap_block* block, actor who) noexcept
{
    const auto word = block->load();
    add(heap_.counters.used_bytes, ~bytes_of(word.units) + 1);
    add(heap_.counters.used_blocks, ~std::uint64_t{0});
    if (word.units < aside_sizes && heap_.aside_count[word.units] != max_aside)
        put_aside(block, word.units);
    else
        merge(block, word.units, who);
    // Only now: killed before, the count may be too high, never too low. See release_mortal.
    if ((word.flags & block_word::mortal) != 0)
        heap_.counters.mortal_blocks.fetch_sub(1, std::memory_order_release);  // after the step
    // Nothing is in use: nothing aside shall keep an arena.
    if (heap_.counters.used_blocks.load(std::memory_order_relaxed) == 0 &&  // locked
        heap_.counters.arenas.load(std::memory_order_relaxed) > 1)          // locked
        merge_all_aside(who);
}

void heap_blocks::put_aside(heap_block* block, std::uint32_t units) noexcept
{
    block->store(units, block_word::aside);
    COHORT_FAULT_POINT("heap.put_aside");
    block->in_bin() = {heap_.aside[units], nullptr};
    heap_.aside[units] = block;
    ++heap_.aside_count[units];
    add(heap_.counters.aside_blocks, 1);
}

/// To the bins, as one block with the free ones before and after it.
void heap_blocks::merge(heap_block* block, std::uint32_t units, actor who) noexcept
{
    // Its own header first: inside a merged block it would pass for used and be freed again.
    block->store(units, 0);
    COHORT_FAULT_POINT("heap.freed");
    auto* start = block;
    auto* next = block->after(units);
    std::uint64_t gone = 0;  // free blocks that this one takes in
    if (const auto other = next->load(); other.is_free()) {
        unlink(next, other.units);
        next = next->after(other.units);
        units += other.units;
        ++gone;
    }
    if (const auto before = block->free_before.load(std::memory_order_relaxed); before != 0) {
        start =
            reinterpret_cast<heap_block*>(reinterpret_cast<std::byte*>(block) - bytes_of(before));
        unlink(start, before);
        units += before;
        ++gone;
    }
    COHORT_FAULT_POINT("heap.gathered");
    start->store(units, 0);  // one with both neighbours
    COHORT_FAULT_POINT("heap.merged");
    next->free_before.store(units, std::memory_order_relaxed);  // locked
    link(start, units);
    add(heap_.counters.free_blocks, 1 - gone);
    if (next->load().is_end())
        shrink(start, next, who);
}

void heap_blocks::merge_all_aside(actor who) noexcept
{
    for (std::uint32_t units = min_block_units; units != aside_sizes; ++units)
        while (auto* block = heap_.aside[units]) {
            heap_.aside[units] = block->in_bin().next;
            --heap_.aside_count[units];
            add(heap_.counters.aside_blocks, ~std::uint64_t{0});
            merge(block, units, who);
        }
}

bool heap_blocks::trim(actor who) noexcept
{
    bool merged = false;
    {
        const guard held{*this, who};
        if ((merged = held.held()))
            merge_all_aside(who);
    }
    give_back(who);
    return merged;
}

/// After the lock: the kernel takes its time, and nobody should wait for the heap meanwhile.
void heap_blocks::give_back(actor who) noexcept
{
    if (arena_left_)
        memory_.give_back_idle(who);
}

heap_blocks::freeing heap_blocks::release(void* payload, actor who) noexcept
{
    {
        const guard held{*this, who};
        if (!held.held())
            return held.lacks_memory() ? freeing::not_attached : freeing::stalled;
        auto* block = find(payload, who.member);
        if (!block) {
            add(heap_.bad_frees, 1);
            return freeing::not_a_block;
        }
        free_locked(block, who);
    }
    give_back(who);
    return freeing::done;
}

bool heap_blocks::resize(void* payload, std::size_t bytes, actor who) noexcept
{
    const auto units = units_for(bytes);
    const guard held{*this, who};
    auto* block = units != 0 && held.held() ? find(payload, who.member) : nullptr;
    if (!block)
        return false;
    const auto word = block->load();
    auto* next = block->after(word.units);
    const auto other = next->load();
    const auto room = word.units + (other.is_free() ? other.units : 0);
    if (room < units)
        return false;
    auto rest = room - units;
    const auto kept = rest < min_block_units ? room : units;
    rest = room - kept;
    if (kept == word.units)
        return true;
    if (other.is_free())
        unlink(next, other.units);
    auto* tail = block->after(kept);
    if (rest != 0) {
        tail->store(rest, 0);
        tail->free_before.store(0, std::memory_order_relaxed);  // locked
    }
    COHORT_FAULT_POINT("heap.resized");
    block->store(kept, word.flags, word.owner_generation);
    block->after(room)->free_before.store(rest, std::memory_order_relaxed);  // locked
    if (rest != 0)
        link(tail, rest);
    add(heap_.counters.used_bytes, bytes_of(kept) - bytes_of(word.units));
    add(heap_.counters.free_blocks, std::uint64_t{rest != 0} - other.is_free());
    return true;
}

/// Whether the header of a block at `address` would lie in pages that exist.
bool heap_blocks::lies_in_pages(std::uintptr_t address) const noexcept
{
    const auto* list = list_of(memory_.layout(), address);
    return list && page_map{*list}.holds(address) &&
           page_map{*list}.holds(address - sizeof(heap_block));
}

heap_block* heap_blocks::find(void* payload, member_id finder) const noexcept
{
    const auto address = reinterpret_cast<std::uintptr_t>(payload);
    if (address % heap_unit_bytes != 0 ||
        !(heap_.external == 0 ? lies_in_pages(address) : lies_in_memory(address, finder)))
        return nullptr;
    auto* block = heap_block::of(payload);
    const auto word = block->load();
    return word.is_used() && word.check == block->address_check() &&
                   word.units >= min_block_units &&
                   block->heap.load(std::memory_order_relaxed) == heap_.index  // the caller's block
               ? block
               : nullptr;
}

}  // namespace cohort
