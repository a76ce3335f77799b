#pragma once
/// How a lane takes one side of a ring for a batch and lets it go: what all kinds of rings share.
/// The states of a side, and who may move them, are in ring_layout.hpp.

#include "cohort/member/custody.hpp"
#include "cohort/member/membership.hpp"
#include "cohort/ring/ring_layout.hpp"
#include "cohort/ring/ring_slots.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
/// stall or refusal has been counted. `waits`: how often that claim has waited before.
[[nodiscard, gnu::cold]] bool wait_for_claimant(ring_layout& ring, ring_side& side, ring_word seen,
                                                membership& self, unsigned waits) noexcept;

/// A side held by this lane for one batch.
struct ring_claim {
    std::uint64_t word = 0;   ///< as it stands in the side while held
    std::uint32_t count = 0;  ///< 0 = not held

    [[nodiscard]] std::uint32_t position() const noexcept
    {
        return static_cast<std::uint32_t>(word >> 16);
    }
};

enum class amount { burst, bulk };

/// Claims one side if `look(position)` finds something to do; it tells how many elements. What was
/// looked at holds for the claim: the word has not changed in between.
template <typename Look>
[[nodiscard]] inline ring_claim claim(ring_layout& ring, ring_side& own, ring_mode mode,
                                      membership& self, Look look) noexcept
{
    const auto me = self.lane();
    if (me == 0) [[unlikely]]
        return {};
    for (unsigned waits = 0;;) {
        auto seen = own.word.load(std::memory_order_acquire);  // FILLED or FREED
        const auto holder = static_cast<lane_id>(seen);
        if (holder == 0) {
            const std::uint32_t count = look(ring_claim{seen}.position());
            const auto mine = seen + ring_word::one_generation + me;
            if (count == 0)
                return {};
            if (own.word.compare_exchange_strong(seen, mine, std::memory_order_acquire,
                                                 std::memory_order_relaxed)) [[likely]]
                return {mine, count};
        } else if (holder == me && mode == ring_mode::single) {
            return {seen, look(ring_claim{seen}.position())};
        } else if (!wait_for_claimant(ring, own, ring_word::unpack(seen), self, waits++)) {
            return {};
        }
    }
}

/// Claims a side as it was seen, when it is free or this lane's role; count 0 when it is not.
[[nodiscard]] inline ring_claim claim_seen(ring_side& own, ring_mode mode, lane_id me,
                                           std::uint64_t seen, std::uint32_t count) noexcept
{
    const auto holder = static_cast<lane_id>(seen);
    if (me == 0) [[unlikely]]
        return {};
    if (mode == ring_mode::single)
        return {seen, holder == me ? count : 0};
    const auto mine = seen + ring_word::one_generation + me;
    if (holder != 0 || !own.word.compare_exchange_strong(seen, mine, std::memory_order_acquire,
                                                         std::memory_order_relaxed))
        return {};
    return {mine, count};
}

/// Moves the side on by `moved` and lets it go; a role is kept. Wakes those who sleep until it
/// moves.
inline void commit(ring_side& own, ring_mode mode, const ring_claim& held,
                   std::uint32_t moved) noexcept
{
    auto done = held.word + moved * ring_word::one_position;
    if (mode == ring_mode::multi)
        done += ring_word::one_generation - static_cast<lane_id>(held.word);
    own.word.store(done, std::memory_order_release);  // FILLED or FREED
    own.bell.ring_if_armed();
}

[[nodiscard]] inline slot_array slots_of(const ring_layout& ring) noexcept
{
    return {reinterpret_cast<std::uint64_t*>(const_cast<std::byte*>(ring.slots())), ring.mask,
            ring.mark_shift};
}

/// How many of `want` a call shall move when `there` could be.
[[nodiscard]] inline std::uint32_t fitting(std::uint32_t want, std::uint32_t there,
                                           amount how) noexcept
{
    return there >= want ? want : how == amount::burst ? there : 0;
}

/// Elements of one call: no ring has room for more.
[[nodiscard]] inline std::uint32_t wanted(std::size_t items) noexcept
{
    return static_cast<std::uint32_t>(std::min<std::size_t>(items, max_ring_capacity));
}

/// Claims the producer side for `want` elements, or as many of them as there is room for.
[[nodiscard, gnu::always_inline]] inline ring_claim claim_room(ring_layout& ring, membership& self,
                                                               std::uint32_t want,
                                                               amount how) noexcept
{
    auto& own = ring.producer;
    std::uint32_t known = 0;
    const auto held = claim(ring, own, ring.producer_mode, self, [&](std::uint32_t position) {
        known = own.peer_seen.load(std::memory_order_relaxed);  // passed on over own.word
        auto room = ring.capacity - (position - known);
        if (room < want || !trusts_peer_seen) [[unlikely]] {
            known = ring.consumer.load().position;  // FREED
            room = ring.capacity - (position - known);
        }
        return fitting(want, room, how);
    });
    if (held.count != 0 && known != own.peer_seen.load(std::memory_order_relaxed)) [[unlikely]]
        own.peer_seen.store(known, std::memory_order_relaxed);  // passed on over own.word
    return held;
}

/// Elements that a producer has committed at or behind `position`, by index.
[[nodiscard]] inline std::uint32_t committed_from(const ring_layout& ring,
                                                  std::uint32_t position) noexcept
{
    return ring.producer.load().position - position;  // FILLED
}

/// What a dequeue writes into the custody word of a buffer. In a pool's own ring: taken, but not
/// received.
[[nodiscard]] inline std::uint64_t custody_stamp(const ring_layout& ring,
                                                 const membership& self) noexcept
{
    return ring.index == no_ring_index ? self.holder()
                                       : custody::received_from(self.holder(), ring.index);
}

/// Where a batch of a ring by index lies: up to the wrap, and behind it from the first slot on.
struct batch_place {
    std::uint32_t at;           ///< slot of its first element
    std::uint32_t before_wrap;  ///< elements
    std::uint32_t behind_wrap;

    batch_place(const ring_layout& ring, std::uint32_t position, std::uint32_t count) noexcept
        : at{position & ring.mask}
        , before_wrap{std::min(count, ring.mask + 1 - at)}
        , behind_wrap{count - before_wrap}
    {
    }
};

/// Copies a batch into a ring by index, and out of it.
template <typename T>
void copy_in(ring_layout& ring, std::uint32_t position, const T* items,
             std::uint32_t count) noexcept
{
    auto* const slots = reinterpret_cast<T*>(ring.slots());
    const batch_place place{ring, position, count};
    std::memcpy(slots + place.at, items, place.before_wrap * sizeof(T));
    std::memcpy(slots, items + place.before_wrap, place.behind_wrap * sizeof(T));
}
template <typename T>
void copy_out(const ring_layout& ring, std::uint32_t position, T* items,
              std::uint32_t count) noexcept
{
    const auto* const slots = reinterpret_cast<const T*>(ring.slots());
    const batch_place place{ring, position, count};
    std::memcpy(items, slots + place.at, place.before_wrap * sizeof(T));
    std::memcpy(items + place.before_wrap, slots, place.behind_wrap * sizeof(T));
}

/// What ring::reset does.
[[nodiscard]] std::size_t drop_all(ring_layout& ring, membership& self) noexcept;

/// What the handles of rings and stacks have in common.
class ring_handle {
public:
    /// Snapshots: exact only when nobody is at work.
    [[nodiscard]] std::size_t count() const noexcept { return layout_->count(); }
    [[nodiscard]] std::size_t free_count() const noexcept { return capacity() - count(); }
    [[nodiscard]] bool empty() const noexcept { return count() == 0; }
    [[nodiscard]] bool full() const noexcept { return count() == capacity(); }

    [[nodiscard]] std::size_t capacity() const noexcept { return layout_->capacity; }
    [[nodiscard]] ring_layout& layout() const noexcept { return *layout_; }

protected:
    explicit ring_handle(ring_layout& layout) noexcept
        : layout_{&layout}
        , self_{&membership_of(&layout)}
    {
    }

    ring_layout* layout_;
    membership* self_;
};

/// The same where elements may be buffers.
class buffer_handle : public ring_handle {
protected:
    explicit buffer_handle(ring_layout& layout) noexcept
        : ring_handle{layout}
        , stamp_{custody_stamp(layout, *self_)}
    {
    }

    /// Buffers that have been taken out are this member's: written before the commit (I2).
    template <typename T>
    void take_custody(std::span<T> items) noexcept
    {
        if constexpr (std::is_pointer_v<T>) {
            const auto offset = layout_->custody_offset;
            if (offset == no_custody)
                return;
            for (T item : items)
                custody::write(item, offset, stamp_);
        }
    }

    std::uint64_t stamp_;
};

}  // namespace detail

}  // namespace cohort
