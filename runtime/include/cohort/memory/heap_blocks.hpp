#pragma once
/// The workings of a heap: what `cohort::heap` (domain/heap.hpp) calls under its lock, and what the
/// reaper and the audit do with it.
///
/// *Thread safety*: any lane, any process. Allocating and freeing hold the heap's lock for a few
/// cache misses, unless what was put aside has to be merged (2000 blocks at most); `trim`,
/// `find_fault` and the reaper's calls walk the heap. Nobody holds it while the kernel makes pages.
/// *When a process dies here*: see heap_layout.hpp. The next caller takes the lock over and
/// rebuilds what follows from the chain, in time proportional to the number of blocks. A block
/// whose release was cut short is either used or free. Behind a holder that is only stopped a call
/// gives up after `patience` and names it.

#include "cohort/base/error.hpp"
#include "cohort/memory/heap_layout.hpp"
#include "cohort/memory/memory.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace cohort {

/// How long a block stays when its owner dies.
enum class lifetime {
    domain,  ///< until it is freed: shared data outlives its maker
    member,  ///< until the member that allocated it is gone
};

struct heap_request {
    std::size_t bytes = 0;
    std::size_t alignment = heap_unit_bytes;  ///< a power of two; less than 16 means 16
    std::size_t boundary = 0;                 ///< not to be crossed; a power of two, 0 = none
    std::uint16_t type = 0;                   ///< from `heap::type`
    lifetime kept = lifetime::domain;
};

/// A block, or why there is none.
struct heap_answer {
    heap_block* block = nullptr;
    errc reason{};
    std::string sentence{};
};

class heap_blocks {
public:
    static constexpr std::chrono::milliseconds patience{1000};

    heap_blocks(heap_layout& heap, memory& segments) noexcept : heap_{heap}, memory_{segments} {}

    /// Makes a heap in zeroed memory.
    static void construct(void* place, std::uint32_t zone_index, int numa_node) noexcept;

    /// `generation` is the calling member's.
    [[nodiscard]] heap_answer allocate(const heap_request& wanted, actor who,
                                       std::uint32_t generation);

    enum class freeing { done, not_a_block, stalled };
    freeing release(void* payload, actor who) noexcept;

    /// Grows or shrinks in place. False when it cannot: the block is as before.
    [[nodiscard]] bool resize(void* payload, std::size_t bytes, actor who) noexcept;

    /// The used block that `payload` points to, or nullptr. Reads only.
    [[nodiscard]] heap_block* find(void* payload) const noexcept;

    /// Registers a type name, or finds it. 0 when all are taken or the lock is stalled.
    [[nodiscard]] std::uint16_t type(std::string_view name, actor who) noexcept;

    /// Merges all that was put aside, so that empty arenas go back. False behind a live holder.
    bool trim(actor who) noexcept;

    /// The first thing that is wrong: chain, bins, counters. Holds the lock all the while.
    [[nodiscard]] std::optional<std::string> find_fault(actor who);

    /// For the reaper: takes the lock over from this dead lane, if that has it, and repairs.
    void repair_after(lane_id dead, actor who) noexcept;
    /// For the reaper: frees what was to go with this member. False behind a live holder.
    [[nodiscard]] bool release_mortal(member_id dead, std::uint32_t generation, actor who) noexcept;

    /// Units of a block that holds `bytes`; 0 when no block can.
    [[nodiscard]] static std::uint32_t units_for(std::size_t bytes) noexcept;

private:
    class guard;
    struct fit {
        heap_block* block = nullptr;
        std::uint32_t front = 0;  ///< units left free before the block
        std::uint32_t units = 0;
    };

    [[nodiscard]] fit find_fit(std::uint32_t units, const heap_request& wanted) const noexcept;
    [[nodiscard]] heap_block* first_at_least(std::uint32_t units) const noexcept;
    heap_block* use(const fit& where, const heap_request& wanted, member_id owner,
                    std::uint32_t generation) noexcept;
    heap_answer grow(std::uint32_t units, const heap_request& wanted, actor who,
                     std::uint32_t generation);
    [[nodiscard]] heap_answer stalled() const;
    memzone_layout& reserve_arena(std::uint64_t least_bytes, actor who);
    void add_arena(heap_arena_layout& arena) noexcept;
    heap_block* use_aside(std::uint32_t units, const heap_request& wanted, member_id owner,
                          std::uint32_t generation) noexcept;
    void stamp(heap_block* block, std::uint32_t units, const heap_request& wanted, member_id owner,
               std::uint32_t generation) noexcept;
    void free_locked(heap_block* block, actor who) noexcept;
    void put_aside(heap_block* block, std::uint32_t units) noexcept;
    void merge(heap_block* block, std::uint32_t units, actor who) noexcept;
    void merge_all_aside(actor who) noexcept;
    void give_back(actor who) noexcept;
    void shrink(heap_block* whole, heap_block* end, actor who) noexcept;
    void rebuild() noexcept;

    void link(heap_block* block, std::uint32_t units) noexcept;
    void unlink(heap_block* block, std::uint32_t units) noexcept;

    heap_layout& heap_;
    memory& memory_;
    bool arena_left_ = false;  ///< in this call: pages may be idle
};

}  // namespace cohort
