#pragma once
/// A bounded FIFO of fixed-size elements, shared by all members of a domain.
///
/// Semantics of rte_ring: `burst` moves as many as fit, `bulk` all or none. Each side is `multi`
/// (any lane, the default) or `single` (the first lane to use it; another is refused, not allowed
/// to corrupt). Elements of `ring<T*>` over buffers carry custody: see member/custody.hpp.
///
/// *Thread safety*: any lane of any member, within the modes. A handle is copied freely and may be
/// used by all threads of its process.
/// *When a process dies here*: a batch is all-or-nothing. Killed before the commit store, producers
/// have added nothing and consumers taken nothing; the claim is taken over by whoever comes next.
/// *When not to use*: to hand a byte stream; to wait without polling (use a doorbell).
///
/// Cost of a burst, uncontended: multi 1 locked instruction and 1 store, single 1 store, on the own
/// side's line; the other side's line is read only when `peer_seen` is used up. Looking at an empty
/// or full ring writes nothing.

#include "cohort/member/membership.hpp"
#include "cohort/ring/ring_layout.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>

namespace cohort {

namespace detail {

/// The thread sanitizer sees one process only. When the position in `peer_seen` comes from another
/// one, so does the order that comes with it; the other side's word has it from this process, too.
#ifdef __SANITIZE_THREAD__
inline constexpr bool trusts_peer_seen = false;
#else
inline constexpr bool trusts_peer_seen = true;
#endif

/// Waits behind, or takes over from, the claimant in `seen`. True: look again. False: give up; the
/// stall or refusal has been counted.
[[nodiscard]] bool wait_for_claimant(ring_side& side, ring_word seen, ring_mode mode,
                                     std::uint32_t stall_limit_us,
                                     const liveness_view& lanes) noexcept;

/// A side held by this lane for one batch.
struct ring_claim {
    ring_word word{};  ///< as it stands in the side while held
    std::uint32_t count = 0;
};

enum class amount { burst, bulk };

/// Claims up to `wanted` elements of one side. `room(position, peer)` is how many the side can
/// move.
template <typename Room>
[[nodiscard]] inline ring_claim claim(ring_side& own, const ring_side& peer, ring_mode mode,
                                      std::uint32_t wanted, amount how,
                                      std::uint32_t stall_limit_us, membership& self,
                                      Room room) noexcept
{
    const auto me = self.lane();
    if (me == 0) [[unlikely]]
        return {};
    for (;;) {
        auto seen = own.load();
        const bool have_role = mode == ring_mode::single && seen.lane == me;
        if (seen.lane != 0 && !have_role) [[unlikely]] {
            if (!wait_for_claimant(own, seen, mode, stall_limit_us, self.liveness()))
                return {};
            continue;
        }
        auto known = own.peer_seen.load(std::memory_order_relaxed);  // passed on over own.word
        auto count = room(seen.position, known);
        if (count < wanted || !trusts_peer_seen) {
            known = peer.load().position;  // FILLED or FREED
            count = room(seen.position, known);
        }
        count = std::min(count, wanted);
        if (count == 0 || (how == amount::bulk && count != wanted))
            return {};
        if (!have_role) {
            auto expected = seen.pack();
            const auto mine = seen.next(seen.position, me);
            if (!own.word.compare_exchange_strong(expected, mine.pack(), std::memory_order_acquire,
                                                  std::memory_order_relaxed))
                continue;
            seen = mine;
        }
        own.peer_seen.store(known, std::memory_order_relaxed);  // passed on over own.word
        return {seen, count};
    }
}

inline void commit(ring_side& own, ring_mode mode, const ring_claim& held) noexcept
{
    const auto keeper = mode == ring_mode::single ? held.word.lane : lane_id{0};
    const auto done = held.word.next(held.word.position + held.count, keeper);
    own.word.store(done.pack(), std::memory_order_release);  // FILLED or FREED
}

}  // namespace detail

template <typename T>
class ring {
    static_assert(std::is_trivially_copyable_v<T>,
                  "elements are copied as bytes between processes");

public:
    /// Over a ring whose element size is sizeof(T); see domain::create_ring and find_ring.
    explicit ring(ring_layout& layout) noexcept
        : layout_{&layout}
        , self_{&membership_of(&layout)}
        , stamp_{layout.index == no_ring_index
                     ? self_->holder()  // a pool's own ring: taken, not received
                     : custody::received_from(self_->holder(), layout.index)}
    {
    }

    /// Copies as many of `items` as fit, in order; returns how many that was.
    std::size_t enqueue_burst(std::span<const T> items) noexcept
    {
        return enqueue(items, detail::amount::burst);
    }
    /// Copies all of `items` or none; returns items.size() or 0.
    std::size_t enqueue_bulk(std::span<const T> items) noexcept
    {
        return enqueue(items, detail::amount::bulk);
    }
    bool enqueue(const T& item) noexcept { return enqueue_burst({&item, 1}) == 1; }

    /// Takes up to items.size() elements, oldest first; returns how many.
    std::size_t dequeue_burst(std::span<T> items) noexcept
    {
        return dequeue(items, detail::amount::burst);
    }
    /// Takes exactly items.size() elements or none; returns items.size() or 0.
    std::size_t dequeue_bulk(std::span<T> items) noexcept
    {
        return dequeue(items, detail::amount::bulk);
    }
    bool dequeue(T& item) noexcept { return dequeue_burst({&item, 1}) == 1; }

    /// Snapshots: exact only when nobody is at work.
    [[nodiscard]] std::size_t count() const noexcept { return layout_->count(); }
    [[nodiscard]] std::size_t free_count() const noexcept { return capacity() - count(); }
    [[nodiscard]] bool empty() const noexcept { return count() == 0; }
    [[nodiscard]] bool full() const noexcept { return count() == capacity(); }

    [[nodiscard]] std::size_t capacity() const noexcept { return layout_->capacity; }
    [[nodiscard]] ring_layout& layout() const noexcept { return *layout_; }

private:
    std::size_t enqueue(std::span<const T> items, detail::amount how) noexcept
    {
        auto& shared = *layout_;
        const auto room = [&](std::uint32_t position, std::uint32_t consumer) {
            return shared.capacity - (position - consumer);
        };
        const auto held =
            detail::claim(shared.producer, shared.consumer, shared.producer_mode,
                          wanted(items.size()), how, shared.stall_limit_us, *self_, room);
        if (held.count == 0)
            return 0;
        const auto at = held.word.position & shared.mask;
        const auto before_wrap = std::min(held.count, shared.mask + 1 - at);
        std::memcpy(slots() + at, items.data(), before_wrap * sizeof(T));
        std::memcpy(slots(), items.data() + before_wrap, (held.count - before_wrap) * sizeof(T));
        detail::commit(shared.producer, shared.producer_mode, held);  // FILLED
        return held.count;
    }

    std::size_t dequeue(std::span<T> items, detail::amount how) noexcept
    {
        auto& shared = *layout_;
        const auto room = [](std::uint32_t position, std::uint32_t producer) {
            return producer - position;
        };
        const auto held =
            detail::claim(shared.consumer, shared.producer, shared.consumer_mode,
                          wanted(items.size()), how, shared.stall_limit_us, *self_, room);
        if (held.count == 0)
            return 0;
        const auto at = held.word.position & shared.mask;
        const auto before_wrap = std::min(held.count, shared.mask + 1 - at);
        std::memcpy(items.data(), slots() + at, before_wrap * sizeof(T));
        std::memcpy(items.data() + before_wrap, slots(), (held.count - before_wrap) * sizeof(T));
        if constexpr (std::is_pointer_v<T>)
            take_custody(items.first(held.count));                    // I2: before FREED
        detail::commit(shared.consumer, shared.consumer_mode, held);  // FREED
        return held.count;
    }

    void take_custody(std::span<T> items) noexcept requires std::is_pointer_v<T>
    {
        const auto offset = layout_->custody_offset;
        if (offset == no_custody)
            return;
        for (T item : items)
            custody::word_at(item, offset)
                .store(stamp_, std::memory_order_relaxed);  // read after death
    }

    static std::uint32_t wanted(std::size_t items) noexcept
    {
        return static_cast<std::uint32_t>(std::min<std::size_t>(items, max_ring_capacity));
    }
    [[nodiscard]] T* slots() const noexcept { return reinterpret_cast<T*>(layout_->slots()); }

    ring_layout* layout_;
    membership* self_;
    std::uint64_t stamp_;
};

}  // namespace cohort
