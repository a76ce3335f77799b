#include "cohort/domain/node_heaps.hpp"

#include "cohort/base/error.hpp"
#include "cohort/memory/heap_blocks.hpp"
#include "cohort/memory/memseg_walk.hpp"
#include "entry_scopes.hpp"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr auto heap_patience = 5s;  // for another member to publish it

constexpr std::array<std::string_view, max_numa_nodes> names{
    "heap.0", "heap.1", "heap.2", "heap.3", "heap.4", "heap.5", "heap.6", "heap.7"};

}  // namespace

node_heaps::node_heaps(memory& segments, membership& self) noexcept : memory_{segments}, self_{self}
{
    for_each_memseg_list(segments.layout(), [&](const auto& list, std::size_t) {
        count_ = std::clamp(list.numa_node + 1, count_, static_cast<int>(max_numa_nodes));
    });
}

int node_heaps::here() const noexcept
{
    return std::clamp(memory_.numa().current(), 0, count_ - 1);
}

heap_layout* node_heaps::find(int node) noexcept
{
    auto& known = known_[static_cast<std::size_t>(node)];
    if (auto* heap = known.load(std::memory_order_acquire))
        return heap;
    const auto* zone = memory_.find(zone_kind::heap, names[static_cast<std::size_t>(node)]);
    if (!zone)
        return nullptr;
    auto* heap = static_cast<heap_layout*>(zone->data());
    known.store(heap, std::memory_order_release);  // PUBLISHED with the entry
    return heap;
}

heap_layout* node_heaps::around(const void* address) noexcept
{
    const auto* list = list_of(memory_.layout(), reinterpret_cast<std::uintptr_t>(address));
    return list && list->numa_node < count_ ? find(list->numa_node) : nullptr;
}

heap_layout& node_heaps::of(int node)
{
    if (node < 0 || node >= count_)
        throw error{
            errc::invalid_argument,
            fmt::format("there is no node {}; the domain has {}, numbered from 0", node, count_)};
    const auto until = deadline_in(heap_patience);
    for (;;) {
        if (auto* heap = find(node))
            return *heap;
        try {
            return make(node);
        } catch (const error& refused) {
            // Another member is about to publish it, or dies on the way and is undone.
            if (refused.reason() != errc::exists || steady_clock::now() >= until)
                throw;
            std::this_thread::sleep_for(1ms);
        }
    }
}

/// Its bookkeeping may lie elsewhere when the node is full: the blocks are what has to be near.
heap_layout& node_heaps::make(int node)
{
    // The first one has the names of all nodes' block types, so it is made first.
    const auto* first = node == 0 ? nullptr : &of(0);
    const auto acting = self_.who();
    if (acting.lane == 0)
        throw error{errc::no_space,
                    fmt::format("this thread has no lane: all {} are in use", max_lanes - 1)};
    new_entry entry{memory_,
                    {.name = names[static_cast<std::size_t>(node)],
                     .kind = zone_kind::heap,
                     .bytes = sizeof(heap_layout),
                     .numa_node = node,
                     .node_hint_only = true},
                    acting};
    heap_blocks::construct(entry.data(), entry.index(), node, first ? first->index : entry.index());
    return *static_cast<heap_layout*>(entry.publish().data());
}

}  // namespace cohort
