// What a heap holds, for programs and people.

#include "cohort/base/error.hpp"
#include "cohort/domain/heap.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr std::size_t holds(block_word word) noexcept
{
    return word.units * heap_unit_bytes - sizeof(heap_block);
}

}  // namespace

/// Of a used block that is the caller's, or under the heap's lock.
heap_block_info heap::info_of(const heap_block& block, block_word word) const noexcept
{
    const auto type = block.type.load(std::memory_order_relaxed);  // see above
    return {.usable_bytes = holds(word),
            .owner = block.owner.load(std::memory_order_relaxed),  // see above
            .type = names_of(segments_->layout(), *layout_).types[type].view(),
            .kept = (word.flags & block_word::mortal) != 0 ? lifetime::member : lifetime::domain};
}

void heap::walk(const heap_blocks::block_visitor& visit) const
{
    const auto walk_one = [&](heap_layout& one) {
        if (!heap_blocks{one, *segments_}.walk(self_->who(), visit))
            throw error{errc::stalled,
                        fmt::format("heap \"{}\" cannot be walked: lane {} holds its lock; see "
                                    "\"cohort lanes\"",
                                    name(), one.lock.holder())};
    };
    if (!nodes_)
        return walk_one(*layout_);
    for (int node = 0; node != nodes_->count(); ++node)
        if (auto* one = nodes_->find(node))
            walk_one(*one);
}

heap_statistics heap::statistics() const
{
    heap_statistics sums;
    walk([&](const heap_block&, block_word word) {
        const auto bytes = std::uint64_t{word.units} * heap_unit_bytes;
        if (word.is_used()) {
            sums.used_bytes += bytes;
            ++sums.used_blocks;
        } else {
            sums.free_bytes += bytes;
            ++sums.free_blocks;
            sums.largest_free = std::max<std::uint64_t>(sums.largest_free, holds(word));
        }
    });
    const auto add_arenas = [&](const heap_layout& one) {
        sums.arenas += one.counters.arenas.load(std::memory_order_relaxed);  // a count
        sums.bytes += one.counters.bytes.load(std::memory_order_relaxed);    // a count
    };
    if (!nodes_)
        add_arenas(*layout_);
    for (int node = 0; nodes_ && node != nodes_->count(); ++node)
        if (const auto* one = nodes_->find(node))
            add_arenas(*one);
    return sums;
}

void heap::for_each_block(const block_visitor& visit) const
{
    walk([&](const heap_block& block, block_word word) {
        if (word.is_used())
            visit(const_cast<heap_block&>(block).payload(), info_of(block, word));
    });
}

std::string heap::dump() const
{
    const auto sums = statistics();
    auto text = fmt::format("heap \"{}\": {} arenas of {} bytes; {} used in {} blocks, {} free in "
                            "{}, the largest holds {}\n",
                            name(), sums.arenas, sums.bytes, sums.used_bytes, sums.used_blocks,
                            sums.free_bytes, sums.free_blocks, sums.largest_free);
    for_each_block([&](const void* block, const heap_block_info& info) {
        text += fmt::format("  {} {} bytes of member {}{}{}{}\n", block, info.usable_bytes,
                            info.owner, info.type.empty() ? "" : ", type ", info.type,
                            info.kept == lifetime::member ? ", goes with it" : "");
    });
    return text;
}

}  // namespace cohort
