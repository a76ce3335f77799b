#pragma once
/// Where a pool keeps what no cache holds: a ring or a stack, as its options say by name.
///
///   "ring"   multi producers and consumers; what was put long ago is got first, so all objects
///   take
///            turns
///   "stack"  what was put last is got first, and is likely to be in a processor's cache; few
///            objects are touched when few are in use
///
/// (rte_mempool's ring_mp_mc and stack. Its single-producer rings are left out: a reaper that gives
/// back what a dead member held is always a second producer.)
///
/// The choice lies in the region as the `publication` of the pool's ring_layout, which claims,
/// recovery and audit know. Called when a cache is refilled or flushed only.

#include "cohort/ring/ring.hpp"
#include "cohort/ring/stack.hpp"

#include <optional>
#include <string_view>

namespace cohort {

class pool_store {
public:
    explicit pool_store(ring_layout& layout) noexcept : layout_{layout} {}

    std::size_t put_bulk(std::span<void* const> objects) noexcept
    {
        return is_stack() ? stack<void*>{layout_}.push_bulk(objects)
                          : ring<void*>{layout_}.enqueue_bulk(objects);
    }
    std::size_t put_burst(std::span<void* const> objects) noexcept
    {
        return is_stack() ? stack<void*>{layout_}.push_burst(objects)
                          : ring<void*>{layout_}.enqueue_burst(objects);
    }
    std::size_t get_bulk(std::span<void*> objects) noexcept
    {
        return is_stack() ? stack<void*>{layout_}.pop_bulk(objects)
                          : ring<void*>{layout_}.dequeue_bulk(objects);
    }
    std::size_t get_burst(std::span<void*> objects) noexcept
    {
        return is_stack() ? stack<void*>{layout_}.pop_burst(objects)
                          : ring<void*>{layout_}.dequeue_burst(objects);
    }

    /// Nothing for a name that is none of the above.
    [[nodiscard]] static std::optional<publication> find(std::string_view backing) noexcept
    {
        if (backing == "ring")
            return publication::by_slot;
        if (backing == "stack")
            return publication::by_height;
        return std::nullopt;
    }

private:
    [[nodiscard]] bool is_stack() const noexcept
    {
        return layout_.published == publication::by_height;
    }

    ring_layout& layout_;
};

}  // namespace cohort
