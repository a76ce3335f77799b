// What members that have not attached an external heap's memory owe it, and who does it for them.
// See heap_layout.hpp for the states.

#include "cohort/base/fault_point.hpp"
#include "cohort/memory/heap_blocks.hpp"
#include "heap_guard.hpp"

#include <bit>

namespace cohort {

/// All but the usual: a lock that nobody left behind, of a heap of a node.
[[gnu::noinline]] void heap_blocks::guard::begin_otherwise(lock_result result, reach what,
                                                           actor who) noexcept
{
    if (held_ && heap_.heap_.external != 0) {
        held_ = heap_.enter_external(result, what == reach::blocks, who);
        lacks_memory_ = !held_;
    } else if (result == lock_result::taken_over) {
        heap_.rebuild(who.member);
    }
}

/// The lock is ours. False, and it is let go, when blocks may not be touched by this member.
bool heap_blocks::enter_external(lock_result result, bool touches_blocks, actor who) noexcept
{
    if (result == lock_result::taken_over) {
        // First: killed or refused after this line, the next one still knows.
        heap_.unsound.store(1, std::memory_order_relaxed);  // locked
        COHORT_FAULT_POINT("heap.unsound");
        relist();
        COHORT_FAULT_POINT("heap.relisted");
    }
    if (!touches_blocks)
        return true;
    if (!is_attached(who.member)) {
        heap_.lock.unlock();
        return false;
    }
    if (heap_.unsound.load(std::memory_order_relaxed) != 0) {  // locked
        rebuild(who.member);
        heap_.unsound.store(0, std::memory_order_relaxed);  // locked
    }
    if (heap_.owed.load(std::memory_order_relaxed) != 0)  // locked
        pay(who);
    return true;
}

/// The list of pieces anew from the entries. Reads nothing but the region.
void heap_blocks::relist() noexcept
{
    const auto slots = heap_.memory_slots.load(std::memory_order_relaxed);  // locked
    for (std::size_t slot = 0; slot != slots; ++slot)
        if (!memory_in(slot))
            heap_.memories[slot].store(0, std::memory_order_relaxed);  // locked
    for_each_live(memory_.layout(), zone_kind::heap_arena, [&](const auto& zone) {
        bool listed = !zone.is_external() || zone.parent != heap_.index;
        const auto in_use = heap_.memory_slots.load(std::memory_order_relaxed);  // locked
        for (std::size_t slot = 0; slot != in_use; ++slot)
            listed = listed || memory_in(slot) == &zone;
        if (!listed)
            list_memory(zone);
    });
}

/// Releases what was to go with members that are dead.
void heap_blocks::pay(actor who) noexcept
{
    for (auto owed = heap_.owed.load(std::memory_order_relaxed); owed != 0; owed &= owed - 1) {
        const auto dead = static_cast<member_id>(std::countr_zero(owed));
        const auto generation = heap_.debts[dead].load(std::memory_order_relaxed);  // locked
        if (generation != 0)
            bury(dead, generation, who);
        COHORT_FAULT_POINT("heap.paid");
        heap_.debts[dead].store(0, std::memory_order_relaxed);  // locked
        COHORT_FAULT_POINT("heap.acquitted");
        heap_.owed.store(heap_.owed.load(std::memory_order_relaxed) & ~(std::uint64_t{1} << dead),
                         std::memory_order_relaxed);  // locked
    }
}

/// False behind a live holder.
bool heap_blocks::owe(member_id dead, std::uint32_t generation, actor who) noexcept
{
    const guard held{*this, who, lane_id{0}, guard::reach::region};
    if (!held.held())
        return false;
    heap_.debts[dead].store(generation, std::memory_order_relaxed);  // locked
    COHORT_FAULT_POINT("heap.indebted");
    heap_.owed.store(heap_.owed.load(std::memory_order_relaxed) | std::uint64_t{1} << dead,
                     std::memory_order_relaxed);  // locked
    COHORT_FAULT_POINT("heap.owed");
    return true;
}

void heap_blocks::detach_everywhere(memory_layout& memory, member_id dead) noexcept
{
    for_each_live(memory, zone_kind::heap_arena, [&](auto& zone) {
        if (!zone.is_external())
            return;
        zone.attached.fetch_and(~(std::uint64_t{1} << dead),
                                std::memory_order_acq_rel);  // after its last use of the memory
        COHORT_FAULT_POINT("heap.dismissed");
    });
}

}  // namespace cohort
