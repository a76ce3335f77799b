#pragma once
/// The heaps of a domain's nodes: each made on first use, found without a name from then on.
///
/// *Thread safety*: all calls from any thread. What is known is kept for the process; a heap of a
/// node is never destroyed.
/// *When a process dies here*: a half-made heap vanishes when its maker is reaped.

#include "cohort/member/membership.hpp"
#include "cohort/memory/heap_layout.hpp"
#include "cohort/memory/memory.hpp"

#include <array>
#include <atomic>

namespace cohort {

class node_heaps {
public:
    node_heaps(memory& segments, membership& self) noexcept;
    node_heaps(const node_heaps&) = delete;
    node_heaps& operator=(const node_heaps&) = delete;

    /// Of the domain; their numbers are those below it.
    [[nodiscard]] int count() const noexcept { return count_; }
    /// The one of the calling thread's processor.
    [[nodiscard]] int here() const noexcept;

    /// The node's heap, made now if nobody has made it. Throws `invalid_argument` for a node that
    /// the domain does not have, `no_memory`, `no_space`, `stalled`.
    [[nodiscard]] heap_layout& of(int node);
    /// The same if it has been made, else nullptr.
    [[nodiscard]] heap_layout* find(int node) noexcept;
    /// The heap in whose pages `address` lies; nullptr when that is nowhere in segment memory.
    [[nodiscard]] heap_layout* around(const void* address) noexcept;

private:
    heap_layout& make(int node);

    memory& memory_;
    membership& self_;
    int count_ = 1;
    std::array<std::atomic<heap_layout*>, max_numa_nodes> known_{};
};

}  // namespace cohort
