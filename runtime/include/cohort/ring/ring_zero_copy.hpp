#pragma once
/// Both ends of a ring in two steps: start claims, finish moves on.
///
/// Between the two a producer writes its elements where they will be read, and a consumer looks at
/// them where they lie; finish says how many of them have been added or taken, none being an abort.
/// So this is also how to peek, and how to know that there is room before making what goes in.
/// Semantics of rte_ring's `_zc_` and `_start`/`_finish` calls, without their condition that a side
/// is single or HTS: here a side always has one claimant at a time.
///
///   if (auto room = enqueue_bulk_start(ring, 8)) {
///       room.finish(write_some(room.first(), room.second()));  // second() lies behind the wrap
///   }
///
/// A ring of pointers publishes each slot by itself (ring_layout.hpp), so a producer has nothing to
/// write in place there: `finish(items)` copies. All else is the same. The ends of a ring in stages
/// work likewise, with whatever elements; its stages hold theirs in place anyway.
///
/// *Thread safety*: as enqueue and dequeue. Others wait behind the claim until the ring's stall
/// limit, so keep it short. The thread that holds it makes no other call on that side meanwhile,
/// and does not leave its lane.
/// *When a process dies here*: between start and finish it has moved nothing, however much it has
/// written; `finish` is the one store of a commit, in a ring of pointers with the prefix that
/// ring.hpp speaks of. The claim is taken over by whoever comes next. A holder that is stopped
/// keeps it.

#include "cohort/ring/ring.hpp"

#include <utility>

namespace cohort {

namespace detail {

/// A claim that is let go, with nothing moved, unless it was finished.
class held_side {
public:
    held_side(ring_side& side, ring_mode mode, ring_claim held) noexcept
        : side_{&side}
        , held_{held}
        , mode_{mode}
    {
    }
    held_side(held_side&& other) noexcept
        : side_{other.side_}
        , held_{std::exchange(other.held_, {})}
        , mode_{other.mode_}
    {
    }
    held_side& operator=(held_side&&) = delete;
    ~held_side() { finish(0); }

    [[nodiscard]] std::uint32_t count() const noexcept { return held_.count; }
    [[nodiscard]] std::uint32_t position() const noexcept { return held_.position(); }
    /// Fewer than were claimed, before anything is moved.
    void shrink(std::uint32_t count) noexcept
    {
        if (count == 0)
            finish(0);
        else
            held_.count = count;
    }
    void finish(std::uint32_t moved) noexcept
    {
        if (held_.count != 0)
            commit(*side_, mode_, std::exchange(held_, {}), moved);  // FILLED or FREED
    }

private:
    ring_side* side_;
    ring_claim held_;
    ring_mode mode_;
};

/// Where `count` values from a position on lie: before and behind the wrap.
template <typename T>
struct slot_spans {
    std::span<T> first;
    std::span<T> second;

    slot_spans(ring_layout& ring, std::uint32_t position, std::uint32_t count) noexcept
    {
        auto* slots = reinterpret_cast<T*>(ring.slots());
        const batch_place place{ring, position, count};
        first = {slots + place.at, place.before_wrap};
        second = {slots, place.behind_wrap};
    }
};

}  // namespace detail

/// Room for size() elements, claimed. Unless it is finished, nothing is added.
template <typename Ring>
class ring_room {
public:
    using element = typename Ring::element;

    [[nodiscard]] std::size_t size() const noexcept { return side_.count(); }
    explicit operator bool() const noexcept { return size() != 0; }

    /// The slots, in the order in which they will be read: all of first(), then second().
    [[nodiscard]] std::span<element> first() const noexcept { return spans().first; }
    [[nodiscard]] std::span<element> second() const noexcept { return spans().second; }

    /// Adds the first `count` elements, which have been written; more than size() counts as all.
    void finish(std::size_t count) noexcept
    {
        static_assert(Ring::published != publication::by_slot,
                      "pointers publish themselves: pass them to finish(items)");
        side_.finish(static_cast<std::uint32_t>(std::min(count, size())));
    }
    /// Copies and adds `items`, of which no more than size() are taken; returns how many.
    std::size_t finish(std::span<const element> items) noexcept
    {
        const auto count = static_cast<std::uint32_t>(std::min(items.size(), size()));
        ring_.fill(side_.position(), items.data(), count);
        side_.finish(count);
        return count;
    }
    void abort() noexcept { side_.finish(0); }

    /// See enqueue_burst_start and enqueue_bulk_start.
    [[nodiscard]] static ring_room start(const Ring& to, std::size_t count,
                                         detail::amount how) noexcept
    {
        return {to, detail::claim_room(to.layout(), *to.self_, detail::wanted(count), how)};
    }

private:
    ring_room(const Ring& ring, detail::ring_claim held) noexcept
        : ring_{ring}
        , side_{ring_.layout().producer, ring_.layout().producer_mode, held}
    {
    }
    [[nodiscard]] detail::slot_spans<element> spans() const noexcept
    {
        static_assert(Ring::published != publication::by_slot,
                      "pointers publish themselves: pass them to finish(items)");
        return {ring_.layout(), side_.position(), side_.count()};
    }

    Ring ring_;
    detail::held_side side_;
};

/// The size() oldest elements, claimed. Unless it is finished, nothing is taken.
template <typename Ring>
class ring_front {
public:
    using element = typename Ring::element;

    [[nodiscard]] std::size_t size() const noexcept { return side_.count(); }
    explicit operator bool() const noexcept { return size() != 0; }

    /// One of them, 0 being the oldest.
    [[nodiscard]] element operator[](std::size_t i) const noexcept
    {
        const auto position = side_.position() + static_cast<std::uint32_t>(i);
        if constexpr (Ring::published == publication::by_slot)
            return reinterpret_cast<element>(peek_word(ring_.layout(), position));
        else
            return *detail::slot_spans<const element>{ring_.layout(), position, 1}.first.data();
    }
    /// The slots, oldest first: all of first(), then second().
    [[nodiscard]] std::span<const element> first() const noexcept { return spans().first; }
    [[nodiscard]] std::span<const element> second() const noexcept { return spans().second; }

    /// Takes the first `count`: buffers among them are this member's from now on. More than size()
    /// counts as all.
    void finish(std::size_t count) noexcept
    {
        count = std::min(count, size());
        if (ring_.layout().custody_offset != no_custody)
            for (std::size_t i = 0; i != count; ++i) {
                element item = (*this)[i];
                ring_.take_custody(std::span{&item, 1});  // I2: before FREED
            }
        side_.finish(static_cast<std::uint32_t>(count));
    }
    void abort() noexcept { side_.finish(0); }

    /// See dequeue_burst_start and dequeue_bulk_start.
    [[nodiscard]] static ring_front start(const Ring& from, std::size_t count,
                                          detail::amount how) noexcept
    {
        auto& shared = from.layout();
        const auto want = detail::wanted(count);
        ring_front front{
            from, detail::claim(shared, shared.consumer, shared.consumer_mode, *from.self_,
                                [&](std::uint32_t at) { return from.filled(at, want, how); })};
        if constexpr (Ring::published == publication::by_slot) {
            std::uint32_t there = 0;
            while (there != front.size() && is_published(shared, front.side_.position() + there))
                ++there;
            front.side_.shrink(detail::fitting(want, there, how));
        }
        return front;
    }

private:
    ring_front(const Ring& ring, detail::ring_claim held) noexcept
        : ring_{ring}
        , side_{ring_.layout().consumer, ring_.layout().consumer_mode, held}
    {
    }
    [[nodiscard]] detail::slot_spans<const element> spans() const noexcept
    {
        static_assert(Ring::published != publication::by_slot,
                      "pointers have a mark in their slots: use [i]");
        return {ring_.layout(), side_.position(), side_.count()};
    }

    Ring ring_;
    detail::held_side side_;
};

/// Room for up to `count` elements, or for all of them or none (an empty one converts to false).
template <typename Ring>
[[nodiscard]] ring_room<Ring> enqueue_burst_start(Ring& to, std::size_t count) noexcept
{
    return ring_room<Ring>::start(to, count, detail::amount::burst);
}
template <typename Ring>
[[nodiscard]] ring_room<Ring> enqueue_bulk_start(Ring& to, std::size_t count) noexcept
{
    return ring_room<Ring>::start(to, count, detail::amount::bulk);
}

/// The oldest elements, up to `count`, or exactly so many or none.
template <typename Ring>
[[nodiscard]] ring_front<Ring> dequeue_burst_start(Ring& from, std::size_t count) noexcept
{
    return ring_front<Ring>::start(from, count, detail::amount::burst);
}
template <typename Ring>
[[nodiscard]] ring_front<Ring> dequeue_bulk_start(Ring& from, std::size_t count) noexcept
{
    return ring_front<Ring>::start(from, count, detail::amount::bulk);
}

}  // namespace cohort
