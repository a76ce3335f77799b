#pragma once
/// A bounded FIFO of fixed-size elements, shared by all members of a domain.
///
/// Semantics of rte_ring: `burst` moves as many as fit, `bulk` all or none. Each side is `multi`
/// (any lane, the default) or `single` (the first lane to use it; another is refused, not allowed
/// to corrupt). Elements of `ring<T*>` over buffers carry custody: see member/custody.hpp.
///
/// *Thread safety*: any lane of any member, within the modes. A handle is copied freely and may be
/// used by all threads of its process.
/// *When a process dies here*: killed before its first store into a slot, a producer has added
/// nothing; after its commit, everything. In between, a ring of pointers has a prefix of the batch,
/// a ring of other elements none of it. A consumer killed before its commit has taken nothing. The
/// claim is taken over, and repaired, by whoever comes next.
/// *Requires*: bit 63 of a pointer is clear, as in every address of a user process; it comes out
/// clear.
/// *When not to use*: to hand a byte stream. To wait without polling: ring_wait.hpp.
/// To write and read elements in place: ring_zero_copy.hpp.
///
/// Cost of a burst, uncontended: multi 1 locked instruction and 1 store, single 1 store, on the own
/// side's line. Between the sides of a ring of pointers only the lines of the elements travel, and
/// once in a while a position to the producer; elements of other types are announced by the
/// producer's position, one line more for each look. Looking at an empty or full ring writes
/// nothing.

#include "cohort/ring/ring_claim.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>

namespace cohort {

namespace detail {

/// The lines of a batch but its first, before that one.
[[gnu::noinline]] inline void fill_behind(ring_layout& ring, std::uint32_t position,
                                          const pointer_word* items, std::uint32_t count) noexcept
{
    const auto reach = count + slots_per_line;
    ring.producer.pending.store(reach, std::memory_order_relaxed);  // read after a death
    std::atomic_signal_fence(std::memory_order_release);
    slots_of(ring).put(position, items, count);
    std::atomic_signal_fence(std::memory_order_release);
}

[[nodiscard, gnu::noinline]] inline std::uint32_t take_lines(slot_array slots,
                                                             std::uint32_t position,
                                                             pointer_word* items,
                                                             std::uint32_t count) noexcept
{
    return slots.take(position, items, count);
}

}  // namespace detail

template <typename T>
class ring : public detail::buffer_handle {
    static_assert(std::is_trivially_copyable_v<T>,
                  "elements are copied as bytes between processes");

    static constexpr bool by_slot = std::is_pointer_v<T>;

public:
    using element = T;

    /// How elements of this type are published.
    static constexpr publication published = by_slot ? publication::by_slot : publication::by_index;

    /// Over a ring whose element size is sizeof(T); see domain::create_ring and find_ring.
    explicit ring(ring_layout& layout) noexcept : buffer_handle{layout} {}

    /// Copies as many of `items` as fit, in order; returns how many that was.
    std::size_t enqueue_burst(std::span<const T> items) noexcept
    {
        if (fill_line(items))
            return items.size();
        return enqueue(items, detail::amount::burst);
    }
    /// Copies all of `items` or none; returns items.size() or 0.
    std::size_t enqueue_bulk(std::span<const T> items) noexcept
    {
        if (fill_line(items))
            return items.size();
        return enqueue(items, detail::amount::bulk);
    }
    bool enqueue(const T& item) noexcept { return enqueue_burst({&item, 1}) == 1; }

    /// Takes up to items.size() elements, oldest first; returns how many.
    std::size_t dequeue_burst(std::span<T> items) noexcept
    {
        if (take_line(items))
            return items.size();
        return dequeue(items, detail::amount::burst);
    }
    /// Takes exactly items.size() elements or none; returns items.size() or 0.
    std::size_t dequeue_bulk(std::span<T> items) noexcept
    {
        if (take_line(items))
            return items.size();
        return dequeue(items, detail::amount::bulk);
    }
    bool dequeue(T& item) noexcept { return dequeue_burst({&item, 1}) == 1; }

    /// The same calls, and what they leave: room or elements, a snapshot as rte_ring's `free_space`
    /// and `available`. It costs a look at the other side's line.
    std::size_t enqueue_burst(std::span<const T> items, std::size_t& room_left) noexcept
    {
        const auto added = enqueue_burst(items);
        room_left = free_count();
        return added;
    }
    std::size_t enqueue_bulk(std::span<const T> items, std::size_t& room_left) noexcept
    {
        const auto added = enqueue_bulk(items);
        room_left = free_count();
        return added;
    }
    std::size_t dequeue_burst(std::span<T> items, std::size_t& left) noexcept
    {
        const auto taken = dequeue_burst(items);
        left = count();
        return taken;
    }
    std::size_t dequeue_bulk(std::span<T> items, std::size_t& left) noexcept
    {
        const auto taken = dequeue_bulk(items);
        left = count();
        return taken;
    }

    /// Whether a dequeue would find nothing: a snapshot. By slot it looks where the next element
    /// will come, and takes no line from under the hands of producers.
    [[nodiscard]] bool empty() const noexcept
    {
        if constexpr (!by_slot)
            return buffer_handle::empty();
        for (auto seen = layout_->consumer.load().position;;) {
            if (slot_array().is_filled(seen))
                return false;
            // Consumers that have gone on meanwhile leave the slot to the next lap.
            const auto now = layout_->consumer.load().position;
            if (now == seen)
                return true;
            seen = now;
        }
    }

    /// Takes all that is inside and drops it; returns how many. A call of the consumer side like
    /// any other: a dead caller has dropped all or nothing, others may be at work meanwhile.
    /// A ring of buffers drops none, for each has to be freed: returns 0; dequeue and free them.
    std::size_t reset() noexcept { return detail::drop_all(*layout_, *self_); }

    /// So many elements lie in a span of that size.
    [[nodiscard]] static std::size_t elements_in(std::size_t items) noexcept { return items; }

private:
    template <typename>
    friend class ring_room;
    template <typename>
    friend class ring_front;

    /// The usual case without a call: pointers that fit into the line, room known, nobody there.
    /// False: nothing was done; go the other way.
    bool fill_line(std::span<const T> items) noexcept
    {
        if constexpr (!by_slot) {
            return false;
        } else {
            auto& shared = *layout_;
            auto& own = shared.producer;
            const auto slots = slot_array();
            const detail::ring_claim seen{own.word.load(std::memory_order_acquire)};
            const auto known = own.peer_seen.load(std::memory_order_relaxed);  // over own.word
            const auto position = seen.position();
            if (items.size() - 1 >= slots.left_in_line(position) ||
                shared.capacity - (position - known) < items.size() || !detail::trusts_peer_seen)
                return false;
            const auto count = static_cast<std::uint32_t>(items.size());
            const auto held = detail::claim_seen(own, shared.producer_mode, self_->known_lane(),
                                                 seen.word, count);
            if (held.count == 0)
                return false;
            slots.put_in_line(position, words_of(items.data()), count);
            std::atomic_signal_fence(std::memory_order_release);
            detail::commit(own, shared.producer_mode, held, count);  // FILLED
            return true;
        }
    }

    /// The same for consumers.
    bool take_line(std::span<T> items) noexcept
    {
        if constexpr (!by_slot) {
            return false;
        } else {
            auto& shared = *layout_;
            auto& own = shared.consumer;
            const auto slots = slot_array();
            const detail::ring_claim seen{own.word.load(std::memory_order_acquire)};
            const auto position = seen.position();
            if (items.size() - 1 >= slots.left_in_line(position))
                return false;
            const auto count = static_cast<std::uint32_t>(items.size());
            if (!slots.is_filled(position + count - 1))
                return false;
            const auto held = detail::claim_seen(own, shared.consumer_mode, self_->known_lane(),
                                                 seen.word, count);
            if (held.count == 0)
                return false;
            // A line is filled in order: with the last, all are there.
            static_cast<void>(slots.take_in_line(position, words_of(items.data()), count));
            std::atomic_signal_fence(std::memory_order_acquire);
            take_custody(items);                                     // I2: before FREED
            detail::commit(own, shared.consumer_mode, held, count);  // FREED
            return true;
        }
    }

    [[gnu::noinline]] std::size_t enqueue(std::span<const T> items, detail::amount how) noexcept
    {
        auto& shared = *layout_;
        const auto held = detail::claim_room(shared, *self_, detail::wanted(items.size()), how);
        if (held.count == 0)
            return 0;
        fill(held.position(), items.data(), held.count);
        detail::commit(shared.producer, shared.producer_mode, held, held.count);  // FILLED
        return held.count;
    }

    [[gnu::noinline]] std::size_t dequeue(std::span<T> items, detail::amount how) noexcept
    {
        auto& shared = *layout_;
        const auto mode = shared.consumer_mode;
        const auto held =
            detail::claim(shared, shared.consumer, mode, *self_, [&](std::uint32_t position) {
                return filled(position, detail::wanted(items.size()), how);
            });
        if (held.count == 0)
            return 0;
        const auto taken = take(held.position(), items.data(), held.count, how);
        take_custody(items.first(taken));                    // I2: before FREED
        detail::commit(shared.consumer, mode, held, taken);  // FREED
        return taken;
    }

    /// Writes a claimed batch.
    void fill(std::uint32_t position, const T* items, std::uint32_t count) noexcept
    {
        if constexpr (by_slot) {
            const auto* words = words_of(items);
            const auto slots = slot_array();
            const auto in_line = slots.left_in_line(position);
            if (count > in_line)
                detail::fill_behind(*layout_, position + in_line, words + in_line, count - in_line);
            slots.put_in_line(position, words, std::min(count, in_line));
            std::atomic_signal_fence(std::memory_order_release);
        } else {
            detail::copy_in(*layout_, position, items, count);
        }
    }

    /// How many of `want` a consumer may hope for. By slot, more may prove to be missing when they
    /// are taken.
    [[nodiscard]] std::uint32_t filled(std::uint32_t position, std::uint32_t want,
                                       detail::amount how) const noexcept
    {
        if constexpr (by_slot) {
            const auto slots = slot_array();
            if (want == 0 || !slots.is_filled(position))
                return 0;
            if (how == detail::amount::burst)
                return want;  // taking ends at the first slot that is not filled
            return want <= layout_->capacity && slots.is_filled(position + want - 1) ? want : 0;
        } else {
            return detail::fitting(want, detail::committed_from(*layout_, position), how);
        }
    }

    /// Reads a claimed batch; returns how much of it was there: for bulk, all or nothing.
    [[nodiscard]] std::uint32_t take(std::uint32_t position, T* items, std::uint32_t count,
                                     detail::amount how) const noexcept
    {
        if constexpr (by_slot) {
            const auto slots = slot_array();
            auto* words = words_of(items);
            const auto taken = count <= slots.left_in_line(position)
                                   ? slots.take_in_line(position, words, count)
                                   : detail::take_lines(slots, position, words, count);
            std::atomic_signal_fence(std::memory_order_acquire);
            return how == detail::amount::burst || taken == count ? taken : 0;
        } else {
            detail::copy_out(*layout_, position, items, count);
            return count;
        }
    }

    static const detail::pointer_word* words_of(const T* items) noexcept
    {
        return reinterpret_cast<const detail::pointer_word*>(items);
    }
    static detail::pointer_word* words_of(T* items) noexcept
    {
        return reinterpret_cast<detail::pointer_word*>(items);
    }
    [[nodiscard]] detail::slot_array slot_array() const noexcept
    {
        return detail::slots_of(*layout_);
    }
};

}  // namespace cohort
