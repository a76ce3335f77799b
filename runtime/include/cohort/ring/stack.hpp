#pragma once
/// A stack of fixed capacity: last in, first out. Semantics of rte_stack: a push or pop moves all
/// of a bulk or none; burst forms move what fits or is there.
///
/// It lies in the region as a ring_layout whose producer side alone is used:
///
///   word = { generation:16 | height:32 | lane:16 };  slots [0, height) hold the elements
///
///   {h, 0, g}    -> {h, me, g+1}         claim, by CAS; any lane
///   {h, me, g}   -> {h +- n, 0, g+1}     commit, one store: pushed elements are there, popped ones
///   gone {h, dead, g} -> {h, me, g+1}         take-over, by CAS; there is nothing to repair
///
/// Invariant: 0 <= height <= capacity. Claims, waits behind a claimant, stall limits and take-over
/// are those of rings (ring_layout.hpp).
///
/// *Thread safety*: any lane of any member, one at a time.
/// *When a process dies here*: before the commit nothing has moved; elements that it was pushing
/// are still its own, those that it was popping are still inside, whatever their custody words say
/// (I1). *When not to use*: to hand work on in order; that is a ring's. Every call of every lane
/// claims the same word, so a stack serves what is rarely shared, as a pool behind its caches.
///
/// Cost of a call: one CAS and one store to the side's line, and the lines of the elements.

#include "cohort/member/custody.hpp"
#include "cohort/ring/ring_claim.hpp"

#include <cstring>
#include <span>
#include <type_traits>

namespace cohort {

template <typename T>
class stack : public detail::buffer_handle {
    static_assert(std::is_trivially_copyable_v<T>,
                  "elements are copied as bytes between processes");

public:
    /// Over a stack whose element size is sizeof(T); see domain::create_stack and find_stack.
    explicit stack(ring_layout& layout) noexcept : buffer_handle{layout} {}

    /// Pushes all of `items`, the last of them on top, or none; returns items.size() or 0.
    std::size_t push_bulk(std::span<const T> items) noexcept
    {
        return push(items, detail::amount::bulk);
    }
    /// Pushes as many of `items` as fit, from the first on; returns how many.
    std::size_t push_burst(std::span<const T> items) noexcept
    {
        return push(items, detail::amount::burst);
    }
    bool push(const T& item) noexcept { return push_bulk({&item, 1}) == 1; }

    /// Takes exactly items.size() elements, the top one first, or none; returns items.size() or 0.
    std::size_t pop_bulk(std::span<T> items) noexcept { return pop(items, detail::amount::bulk); }
    /// Takes up to items.size() elements, the top one first; returns how many.
    std::size_t pop_burst(std::span<T> items) noexcept { return pop(items, detail::amount::burst); }
    bool pop(T& item) noexcept { return pop_bulk({&item, 1}) == 1; }

private:
    std::size_t push(std::span<const T> items, detail::amount how) noexcept
    {
        const auto held = claim([&](std::uint32_t height) {
            return detail::fitting(detail::wanted(items.size()), layout_->capacity - height, how);
        });
        if (held.count == 0)
            return 0;
        std::memcpy(slots() + held.position(), items.data(), held.count * sizeof(T));
        commit(held, held.count);
        return held.count;
    }

    std::size_t pop(std::span<T> items, detail::amount how) noexcept
    {
        const auto held = claim([&](std::uint32_t height) {
            return detail::fitting(detail::wanted(items.size()), height, how);
        });
        if (held.count == 0)
            return 0;
        for (std::uint32_t i = 0; i != held.count; ++i)
            items[i] = slots()[held.position() - 1 - i];
        take_custody(items.first(held.count));  // I2: before the commit
        commit(held, 0 - held.count);
        return held.count;
    }

    template <typename Look>
    [[nodiscard]] detail::ring_claim claim(Look look) noexcept
    {
        return detail::claim(*layout_, layout_->producer, ring_mode::multi, *self_, look);
    }
    /// Modulo 2^32: what a height borrows comes out of the generation, which may jump.
    void commit(const detail::ring_claim& held, std::uint32_t moved) noexcept
    {
        detail::commit(layout_->producer, ring_mode::multi, held, moved);
    }

    [[nodiscard]] T* slots() const noexcept { return reinterpret_cast<T*>(layout_->slots()); }
};

}  // namespace cohort
