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
/// *External heaps*: who has not attached all memory is refused before it touches any. If such a
/// member takes the lock over from a dead one, or reaps one with blocks that go with it, it writes
/// that down; the next caller who has attached all does the work first.

#include "cohort/base/error.hpp"
#include "cohort/memory/heap_layout.hpp"
#include "cohort/memory/memory.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <span>
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

    /// Makes a heap in zeroed memory. `names_index` is the entry of the heap that has the names of
    /// its block types.
    static void construct(void* place, std::uint32_t zone_index, int numa_node,
                          std::uint32_t names_index) noexcept;
    /// The same of one that has no memory but what is added to it.
    static void construct_external(void* place, std::uint32_t zone_index) noexcept;

    /// `generation` is the calling member's.
    [[nodiscard]] heap_answer allocate(const heap_request& wanted, actor who,
                                       std::uint32_t generation);

    enum class freeing { done, not_a_block, stalled, not_attached };
    freeing release(void* payload, actor who) noexcept;

    /// Grows or shrinks in place. False when it cannot: the block is as before.
    [[nodiscard]] bool resize(void* payload, std::size_t bytes, actor who) noexcept;

    /// The used block of this heap that `payload` points to, or nullptr. Reads only, and only what
    /// `finder` may touch.
    [[nodiscard]] heap_block* find(void* payload, member_id finder) const noexcept;
    /// The heap that has a used block there, or nullptr.
    [[nodiscard]] static heap_layout* owner_of(memory& segments, void* payload,
                                               member_id finder) noexcept;

    /// Registers a type name, or finds it. 0 when all are taken or the lock is stalled.
    [[nodiscard]] std::uint16_t type(std::string_view name, actor who) noexcept;

    /// Merges all that was put aside, so that empty arenas go back. False behind a live holder.
    bool trim(actor who) noexcept;

    /// The first thing that is wrong: chain, bins, counters. Holds the lock all the while.
    [[nodiscard]] std::optional<std::string> find_fault(actor who);

    /// Calls `visit(block, word)` for each block, used or free, that `who` may touch. Holds the
    /// lock all the while; `visit` must not call the heap. False, and nothing was visited, behind a
    /// live holder.
    using block_visitor = std::function<void(const heap_block&, block_word)>;
    [[nodiscard]] bool walk(actor who, const block_visitor& visit);

    // Of external heaps (heap_external.cpp). They throw `no_permission` for others, `stalled`, and
    // `not_found` for memory that was not added with that address and length.

    using bytes_span = std::span<std::byte>;
    /// `invalid_argument`, `exists`, `no_space`, `not_attached`. The caller has it attached by
    /// that.
    void add_memory(bytes_span piece, actor who);
    /// `in_use`: blocks of it are used, or other members have it attached. `not_attached`.
    void remove_memory(bytes_span piece, actor who);
    /// The caller has mapped it at this address, and may touch it from now on; it does, if that is
    /// the last piece, what others owe the heap. `invalid_argument` when something else lies there.
    void attach_memory(bytes_span piece, actor who);
    /// The caller is about to unmap it.
    void detach_memory(bytes_span piece, actor who);
    /// Removes memory that no member has attached, with all blocks in it. `in_use`.
    void forget_memory(bytes_span piece, actor who);
    /// Takes the heap's own entry away, when it has no memory. `in_use`. False when another did it.
    [[nodiscard]] bool retire(actor who);

    /// Whether `member` may use the heap.
    [[nodiscard]] bool is_attached(member_id member) const noexcept;
    /// For the reaper: this member has no external memory attached any more.
    static void detach_everywhere(memory_layout& memory, member_id dead) noexcept;

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
    [[nodiscard]] fit search(std::uint32_t units, const heap_request& wanted) const noexcept;
    [[nodiscard]] heap_block* first_at_least(std::uint32_t units) const noexcept;
    heap_block* use(const fit& where, const heap_request& wanted, member_id owner,
                    std::uint32_t generation) noexcept;
    heap_answer grow(std::uint32_t units, const heap_request& wanted, actor who,
                     std::uint32_t generation);
    [[nodiscard]] heap_answer refusal(const guard& refused) const;
    [[nodiscard]] heap_answer exhausted(const heap_request& wanted, std::size_t largest) const;
    [[nodiscard]] std::size_t largest_free() const noexcept;
    memzone_layout& reserve_arena(std::uint64_t least_bytes, actor who);
    heap_arena_layout& construct_arena(const memzone_layout& zone) const noexcept;
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
    void unlist(heap_arena_layout& arena) noexcept;
    void let_go(heap_arena_layout& arena, actor who) noexcept;
    void let_go_of_empty(actor who) noexcept;
    void rebuild(member_id viewer) noexcept;
    void bury(member_id dead, std::uint32_t generation, actor who) noexcept;

    [[nodiscard]] bool lies_in_pages(std::uintptr_t address) const noexcept;
    [[nodiscard]] bool lies_in_memory(std::uintptr_t address, member_id finder) const noexcept;
    [[nodiscard]] std::string_view name() const noexcept;
    void require_external() const;
    [[noreturn]] void refuse(const guard& refused) const;
    [[nodiscard]] memzone_layout* memory_in(std::size_t slot) const noexcept;
    [[nodiscard]] std::size_t slot_of(bytes_span piece) const;
    void check_same(const memzone_layout& zone) const;
    void list_memory(const memzone_layout& zone) noexcept;
    void drop_memory(std::size_t slot, actor who) noexcept;
    [[nodiscard]] bool enter_external(lock_result result, bool touches_blocks, actor who) noexcept;
    void relist() noexcept;
    void pay(actor who) noexcept;
    [[nodiscard]] bool owe(member_id dead, std::uint32_t generation, actor who) noexcept;

    void link(heap_block* block, std::uint32_t units) noexcept;
    void unlink(heap_block* block, std::uint32_t units) noexcept;

    heap_layout& heap_;
    memory& memory_;
    bool walking_ = false;     ///< along a chain: its arena must stay
    bool arena_left_ = false;  ///< in this call: pages may be idle
};

}  // namespace cohort
