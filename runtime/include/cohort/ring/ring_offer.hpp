#pragma once
/// Adding to a ring under its own rule for being full, which its creator chose (ring_options):
///
///   refuse    what finds no room stays the caller's
///   drop_new  it is dropped and counted
///   block     the call waits up to `full_patience_us` for room; what finds none is dropped
///
/// To the rule, a call that gives up behind a stopped claimant, or that has not the role of a
/// single producer, has found no room. enqueue_burst and enqueue_bulk know no such rule.
///
/// *Thread safety*: as enqueue.
/// *When a process dies here*: elements are counted as dropped before they are given to `discard`,
/// so each element is in the ring, or counted, or was never offered. Buffers whose holder dies in
/// `discard` come back like all it held.

#include "cohort/ring/ring.hpp"
#include "cohort/ring/ring_wait.hpp"
#include "cohort/ring/staged_ring.hpp"

#include <concepts>
#include <type_traits>

namespace cohort {

template <typename Ring>
concept offerable = std::same_as<Ring, ring<typename Ring::element>> ||
    std::same_as<Ring, staged_ring<typename Ring::element>>;

struct offered {
    std::size_t accepted = 0;  ///< the first of the items; they are in the ring
    std::size_t dropped = 0;   ///< the others, if the ring drops; else they are still the caller's
    bool above_watermark = false;  ///< the ring holds more than its watermark: a snapshot
};

namespace detail {

[[nodiscard]] inline deadline full_deadline(const ring_layout& ring) noexcept
{
    return deadline_in(std::chrono::microseconds{ring.full_patience_us});
}

}  // namespace detail

/// Offers `items` in order. `discard(std::span<const T>)` gets what is dropped, once.
template <offerable Ring, typename Discard>
offered offer(Ring& to, std::span<const typename Ring::element> items, Discard discard)
{
    auto& layout = to.layout();
    offered result{.accepted = to.enqueue_burst(items)};
    if (result.accepted != items.size() && layout.when_full == full_policy::block) {
        const auto until = detail::full_deadline(layout);
        waited last;
        do {
            last = wait_enqueue_burst(to, items.subspan(result.accepted), until);
            result.accepted += last.count;
        } while (result.accepted != items.size() && last.end == wait_end::moved);
    }
    if (layout.watermark != layout.capacity)
        result.above_watermark = layout.count() > layout.watermark;
    if (const auto rest = items.subspan(result.accepted);
        !rest.empty() && layout.when_full != full_policy::refuse) {
        result.dropped = rest.size();
        layout.producer.dropped.fetch_add(rest.size(), std::memory_order_relaxed);  // a count
        discard(rest);
    }
    return result;
}

/// The same for elements that need no discarding; pointers are somebody's to free.
template <offerable Ring>
offered offer(Ring& to, std::span<const typename Ring::element> items)
{
    static_assert(!std::is_pointer_v<typename Ring::element>,
                  "pass what becomes of dropped pointers, such as free_bulk");
    return offer(to, items, [](auto) {});
}

}  // namespace cohort
