#pragma once
/// A ring whose element size is chosen when it is made: a multiple of 4, as rte_ring_create_elem.
///
/// It is a `ring<T>` by index in all but the type, and a ring of values can be used as one: what a
/// program wants that carries or shows rings of others without knowing their types.
///
/// *Thread safety*, *When a process dies here*: as ring.hpp; a batch is added or taken whole, or
/// not at all.

#include "cohort/ring/ring_claim.hpp"

#include <cstring>
#include <span>

namespace cohort {

inline constexpr std::uint32_t max_element_bytes = 64 * 1024;

class element_ring : public detail::ring_handle {
public:
    using element = std::byte;

    /// Over a ring by index; see domain::create_element_ring and find_element_ring.
    explicit element_ring(ring_layout& layout) noexcept : ring_handle{layout} {}

    [[nodiscard]] std::size_t element_bytes() const noexcept { return layout_->element_bytes; }
    /// Whole elements in so many bytes; what is left over is ignored.
    [[nodiscard]] std::size_t elements_in(std::size_t bytes) const noexcept
    {
        return bytes / element_bytes();
    }

    /// Copies the whole elements in `items`, as many as fit, or all or none; returns how many.
    std::size_t enqueue_burst(std::span<const std::byte> items) noexcept
    {
        return enqueue(items, detail::amount::burst);
    }
    std::size_t enqueue_bulk(std::span<const std::byte> items) noexcept
    {
        return enqueue(items, detail::amount::bulk);
    }

    /// Takes as many elements as `items` has room for, or all of them or none; returns how many.
    std::size_t dequeue_burst(std::span<std::byte> items) noexcept
    {
        return dequeue(items, detail::amount::burst);
    }
    std::size_t dequeue_bulk(std::span<std::byte> items) noexcept
    {
        return dequeue(items, detail::amount::bulk);
    }

    /// As that of ring<T>.
    std::size_t reset() noexcept { return detail::drop_all(*layout_, *self_); }

private:
    std::size_t enqueue(std::span<const std::byte> items, detail::amount how) noexcept
    {
        auto& shared = *layout_;
        const auto want = detail::wanted(elements_in(items.size()));
        const auto held = detail::claim_room(shared, *self_, want, how);
        if (held.count == 0)
            return 0;
        const auto [first, second] = spans(held);
        std::memcpy(first.data(), items.data(), first.size());
        std::memcpy(second.data(), items.data() + first.size(), second.size());
        detail::commit(shared.producer, shared.producer_mode, held, held.count);  // FILLED
        return held.count;
    }

    std::size_t dequeue(std::span<std::byte> items, detail::amount how) noexcept
    {
        auto& shared = *layout_;
        const auto want = detail::wanted(elements_in(items.size()));
        const auto held = detail::claim(
            shared, shared.consumer, shared.consumer_mode, *self_, [&](std::uint32_t position) {
                return detail::fitting(want, detail::committed_from(shared, position), how);
            });
        if (held.count == 0)
            return 0;
        const auto [first, second] = spans(held);
        std::memcpy(items.data(), first.data(), first.size());
        std::memcpy(items.data() + first.size(), second.data(), second.size());
        detail::commit(shared.consumer, shared.consumer_mode, held, held.count);  // FREED
        return held.count;
    }

    struct two_spans {
        std::span<std::byte> first;
        std::span<std::byte> second;
    };
    /// The slots of a claimed batch, before and behind the wrap.
    [[nodiscard]] two_spans spans(const detail::ring_claim& held) const noexcept
    {
        const detail::batch_place place{*layout_, held.position(), held.count};
        return {
            {layout_->slots() + place.at * element_bytes(), place.before_wrap * element_bytes()},
            {layout_->slots(), place.behind_wrap * element_bytes()}};
    }
};

}  // namespace cohort
