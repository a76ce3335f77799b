// The heaps of all nodes as one: the caller's node first, as rte_malloc does with SOCKET_ID_ANY.

#include "cohort/base/error.hpp"
#include "cohort/domain/heap.hpp"

#include <fmt/format.h>

namespace cohort {

heap_answer heap::ask(int node, const heap_request& wanted) const
{
    try {
        return heap_blocks{nodes_->of(node), *segments_}.allocate(wanted, self_->who(),
                                                                  self_->self().generation);
    } catch (const error& refused) {  // its heap cannot be made
        return {nullptr, refused.reason(), refused.what()};
    }
}

/// A node that cannot serve is asked again by the next call: memory may have come back there.
heap_answer heap::ask_nodes(const heap_request& wanted) const
{
    const int here = nodes_->here();
    auto answer = ask(here, wanted);
    if (answer.block || answer.reason == errc::invalid_argument)  // that is wrong everywhere
        return answer;
    for (int node = 0; node != nodes_->count(); ++node)
        if (node != here)
            if (auto other = ask(node, wanted); other.block)
                return other;
    answer.sentence += fmt::format("; no other of the {} nodes can serve it", nodes_->count());
    return answer;
}

/// By the pages it lies in: the blocks of a node lie in that node's.
heap heap::owner_of(const void* block) const noexcept
{
    auto* owner = nodes_ ? nodes_->around(block) : nullptr;
    return {owner ? *owner : *layout_, *segments_, *self_};
}

bool heap::free_in_node(void* block) noexcept
{
    return owner_of(block).free(block);
}

bool heap::trim_nodes() noexcept
{
    bool all = true;
    for (int node = 0; node != nodes_->count(); ++node)
        if (auto* layout = nodes_->find(node))
            all = heap_blocks{*layout, *segments_}.trim(self_->who()) && all;
    return all;
}

std::optional<std::string> heap::find_fault_in_nodes()
{
    for (int node = 0; node != nodes_->count(); ++node)
        if (auto* layout = nodes_->find(node))
            if (auto fault = heap_blocks{*layout, *segments_}.find_fault(self_->who()))
                return fault;
    return std::nullopt;
}

}  // namespace cohort
