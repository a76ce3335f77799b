#pragma once
/// Blocks of any size, shared by all members: malloc for data that outlives its maker.
///
///     auto heap = domain.heap();             // on the caller's node, else on another
///     auto near = domain.heap(1);            // on node 1, or nowhere
///     auto* table = static_cast<entry*>(heap.zmalloc(n * sizeof(entry), heap.type("flows")));
///
/// A pointer means the same in every member; any member may free what another has allocated.
/// Semantics of rte_malloc: nothing is a result, not an exception; `last_failure` says why.
///
/// *When not to use*: for objects of one size on a hot path; that is what mempools are for.
///
/// An external heap (`domain.create_heap`) has only the memory that its users bring, by the
/// semantics of rte_malloc_heap_memory_add and its kin:
///
///     auto heap = domain.create_heap("device");       // once
///     heap.add_memory(piece);                          // mapped shared, before, by the caller
///     ... in each other member that uses the heap, after it mapped the same at the same address:
///     domain.find_heap("device")->attach_memory(piece);
///
/// A member that has not attached all of it is refused (`errc::not_attached`) and touches none.
///
/// *Thread safety*: all calls from any thread, in any member.
/// *When a process dies here*: the next caller repairs the heap. What the dead member had allocated
/// stays, listed under its name, unless it was allocated with `lifetime::member`. An external heap
/// is repaired, and has such blocks released, by the next caller that has all of its memory
/// attached; the dead member's attachments end when it is reaped.

#include "cohort/domain/node_heaps.hpp"
#include "cohort/member/membership.hpp"
#include "cohort/memory/heap_blocks.hpp"

#include <functional>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cohort {

using heap_type = std::uint16_t;  ///< a name for blocks of one purpose; 0 = untyped

struct heap_failure {
    errc reason{};
    std::string sentence{};
};

/// What a block's header says of it.
struct heap_block_info {
    std::size_t usable_bytes = 0;
    member_id owner = 0;
    std::string_view type{};
    lifetime kept = lifetime::domain;
};

/// As rte_malloc_get_socket_stats. Bytes include the headers of blocks, 16 each.
struct heap_statistics {
    std::uint64_t arenas = 0;
    std::uint64_t bytes = 0;
    std::uint64_t used_bytes = 0;
    std::uint64_t free_bytes = 0;
    std::uint64_t largest_free = 0;  ///< what the largest free block can hold
    std::uint64_t used_blocks = 0;
    std::uint64_t free_blocks = 0;  ///< those put aside for their next use included
};

class heap {
public:
    /// With `nodes`, all of them as one; `layout` is the first's then.
    heap(heap_layout& layout, memory& segments, membership& self,
         node_heaps* nodes = nullptr) noexcept
        : layout_{&layout}
        , segments_{&segments}
        , self_{&self}
        , nodes_{nodes}
    {
    }

    /// A block of at least `bytes`, aligned to 16. Of 0 bytes: a block of the least size.
    [[nodiscard]] void* malloc(std::size_t bytes, heap_type type = 0) noexcept;
    /// The same, zeroed.
    [[nodiscard]] void* zmalloc(std::size_t bytes, heap_type type = 0) noexcept;
    /// `count` zeroed elements; nullptr when count * bytes overflows.
    [[nodiscard]] void* calloc(std::size_t count, std::size_t bytes, heap_type type = 0) noexcept;
    /// All the wishes: alignment, boundary, lifetime.
    [[nodiscard]] void* allocate(const heap_request& wanted) noexcept;

    /// In place when the block or its free neighbour has room, else a copy. nullptr leaves the old
    /// block as it was. realloc(nullptr, n) allocates, realloc(p, 0) frees and returns nullptr.
    [[nodiscard]] void* realloc(void* block, std::size_t bytes) noexcept;

    /// False, counted, for a pointer that is no used block of this heap; true for nullptr.
    bool free(void* block) noexcept;
    /// The same for who knows how much was asked for: false, and the block stays, when it cannot
    /// hold so much.
    bool free(void* block, std::size_t bytes) noexcept;
    /// Overwrites the block first, in a way that no compiler removes.
    bool free_sensitive(void* block) noexcept;

    /// 0 for what is no used block of this heap.
    [[nodiscard]] std::size_t usable_bytes(const void* block) const noexcept;
    [[nodiscard]] std::optional<heap_block_info> info(const void* block) const noexcept;

    /// The number of a type name, registered on first use; 0 when 255 others are. The heaps of
    /// nodes have one list of names.
    [[nodiscard]] heap_type type(std::string_view name) noexcept;

    /// Merges small blocks that wait for their next use, so that empty arenas go back.
    bool trim() noexcept;

    /// What is wrong with the heap, or nothing. Stops all its users meanwhile.
    [[nodiscard]] std::optional<std::string> find_fault();

    // What there is (heap_view.cpp). All stop the users of the heap meanwhile, and throw `stalled`
    // behind a holder that does not let go. Of an external heap only what is attached is seen.

    [[nodiscard]] heap_statistics statistics() const;
    /// Calls `visit(block, info)` for each used block; it must not call the heap.
    using block_visitor = std::function<void(const void* block, const heap_block_info& info)>;
    void for_each_block(const block_visitor& visit) const;
    /// The statistics, and a line for each used block: for people.
    [[nodiscard]] std::string dump() const;

    /// Makes memory part of an external heap. `piece` is mapped here, shared, readable and
    /// writable, at an address where every member that is to use the heap can map it too; its pages
    /// exist or can be made. Address and length are multiples of 64, the length from 4 KiB to 64
    /// GiB. What was in it is lost. Throws `invalid_argument`; `exists` when it overlaps the
    /// domain's window or memory of a heap; `not_attached` when this member has not attached all
    /// there is so far; `no_space` after 64 pieces, or without an entry; `no_permission` for a heap
    /// of a node; `stalled`. The other calls below, too, throw the last two, and `not_found` for
    /// memory that was not added with that very address and length.
    void add_memory(std::span<std::byte> piece);
    /// Takes it out again; it may be unmapped then. Throws `in_use` while blocks of it are, or
    /// another member has it attached, `not_attached` as `add_memory`.
    void remove_memory(std::span<std::byte> piece);
    /// Tells that this member, too, has mapped the memory, at the same address, shared. The member
    /// that added it need not. Throws `invalid_argument` when something else is mapped there, or
    /// the same privately.
    void attach_memory(std::span<std::byte> piece);
    /// Tells that this member is about to unmap it. Until it has attached it again, it is refused.
    void detach_memory(std::span<std::byte> piece);
    /// For memory that is lost, since all who had it mapped are gone and nobody can map it again:
    /// takes it out of the heap with all blocks in it. Throws `in_use` while a member has it
    /// attached.
    void forget_memory(std::span<std::byte> piece);

    [[nodiscard]] std::string_view name() const noexcept;
    /// Where its memory is; `any_numa_node` for all nodes as one, and for an external heap.
    [[nodiscard]] int numa_node() const noexcept
    {
        return nodes_ ? any_numa_node : layout_->numa_node;
    }
    [[nodiscard]] bool is_external() const noexcept { return layout_->external != 0; }
    /// Whether this member has all the memory of the heap attached. True for a heap of a node.
    [[nodiscard]] bool is_attached() const noexcept
    {
        return blocks().is_attached(self_->self().id);
    }

    /// Why the calling thread's last nullptr, or false, came about.
    [[nodiscard]] static const heap_failure& last_failure() noexcept;

    /// Of all nodes as one: the layout of the first.
    [[nodiscard]] const heap_layout& layout() const noexcept { return *layout_; }

    /// Whether they serve and free the same blocks.
    friend bool operator==(const heap& a, const heap& b) noexcept
    {
        return a.layout_ == b.layout_ && a.nodes_ == b.nodes_;
    }

private:
    [[nodiscard]] heap_blocks blocks() const noexcept { return {*layout_, *segments_}; }
    [[nodiscard]] actor acting() const;
    // Of all nodes as one (heap_anywhere.cpp).
    [[nodiscard]] heap_answer ask(int node, const heap_request& wanted) const;
    [[nodiscard]] heap_answer ask_nodes(const heap_request& wanted) const;
    [[nodiscard]] heap owner_of(const void* block) const noexcept;
    [[nodiscard]] heap_block_info info_of(const heap_block& block, block_word word) const noexcept;
    void walk(const heap_blocks::block_visitor& visit) const;
    bool free_in_node(void* block) noexcept;
    [[nodiscard]] bool trim_nodes() noexcept;
    [[nodiscard]] std::optional<std::string> find_fault_in_nodes();

    heap_layout* layout_;
    memory* segments_;
    membership* self_;
    node_heaps* nodes_;  ///< nullptr: this heap only
};

/// For containers: std::pmr::vector<int> numbers{&resource}. Throws std::bad_alloc when dry.
class heap_resource final : public std::pmr::memory_resource {
public:
    explicit heap_resource(const heap& from, heap_type type = 0) noexcept : heap_{from}, type_{type}
    {
    }

private:
    void* do_allocate(std::size_t bytes, std::size_t alignment) override;
    void do_deallocate(void* block, std::size_t bytes, std::size_t) override
    {
        heap_.free(block, bytes);
    }
    [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override
    {
        const auto* same = dynamic_cast<const heap_resource*>(&other);
        return same && same->heap_ == heap_;
    }

    heap heap_;
    heap_type type_;
};

/// The same for containers without pmr.
template <typename T>
class heap_allocator {
public:
    using value_type = T;

    explicit heap_allocator(const heap& from) noexcept : heap_{from} {}
    template <typename Other>
    explicit heap_allocator(const heap_allocator<Other>& other) noexcept : heap_{other.source()}
    {
    }

    [[nodiscard]] T* allocate(std::size_t count)
    {
        if (count > max_heap_block / sizeof(T))
            throw std::bad_array_new_length{};
        auto* block = heap_.allocate({.bytes = count * sizeof(T), .alignment = alignof(T)});
        if (!block)
            throw std::bad_alloc{};
        return static_cast<T*>(block);
    }
    void deallocate(T* block, std::size_t) noexcept { heap_.free(block); }
    [[nodiscard]] const heap& source() const noexcept { return heap_; }

    template <typename Other>
    [[nodiscard]] bool operator==(const heap_allocator<Other>& other) const noexcept
    {
        return heap_ == other.source();
    }

private:
    heap heap_;
};

}  // namespace cohort
