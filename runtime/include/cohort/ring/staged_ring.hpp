#pragma once
/// A ring whose elements pass stages, in order, between producers and consumers.
///
/// Semantics of rte_soring: the workers of a stage acquire elements oldest first, work on them
/// while others hold other batches, and release them in any order; the next stage, and at the end
/// the consumers, find them in the order in which they were enqueued. Stages count from 0.
///
///   if (auto batch = ring.acquire_burst(0, 32)) {
///       for (std::size_t i = 0; i != batch.size(); ++i)
///           work_on(batch[i]);
///       batch.release();
///   }
///
/// *Thread safety*: any lane of any member. A grant belongs to the thread that acquired it; what it
/// has not released when it goes out of scope, or when its lane is left, another will acquire.
/// *When a process dies here*: what it held is acquired again, by a worker of the same stage, as
/// `redelivered()`: at least once for each stage. What the dead had written to the elements stays
/// written, up to any instruction. Producers and consumers have moved all or nothing. A holder that
/// is *stopped* keeps its batch; others go on until the ring is full behind it, and `oldest` and
/// `dump` name it.
/// *When not to use*: where order does not matter; rings between stages do not wait for the slowest
/// batch. For sleeping in place of polling see stage_wait.hpp.
///
/// Elements that are buffers stay the ring's while they are in a stage; a dequeue takes custody.
///
/// Cost of a batch in a stage: two locked instructions, and one that moves the tail, beside two
/// stores; the lines of stage, of the stage before, and of the batch's word.

#include "cohort/ring/ring_claim.hpp"
#include "cohort/ring/stage_layout.hpp"

#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

namespace cohort {

struct staged_ring_options {
    std::uint8_t stages = 1;
    ring_mode producers = ring_mode::multi;
    ring_mode consumers = ring_mode::multi;
    std::uint32_t stall_limit_us = ring_options{}.stall_limit_us;
    full_policy when_full = full_policy::refuse;  ///< see ring_offer.hpp
    std::uint32_t full_patience_us = ring_options{}.full_patience_us;
    std::uint32_t watermark = 0;  ///< elements, in whatever stage; 0 = as many as fit
};

/// 0 stages become too many, which is refused.
[[nodiscard]] inline ring_options as_ring_options(const staged_ring_options& options) noexcept
{
    const std::uint8_t none_is_refused = max_stages + 1;
    return {.producers = options.producers,
            .consumers = options.consumers,
            .stall_limit_us = options.stall_limit_us,
            .when_full = options.when_full,
            .full_patience_us = options.full_patience_us,
            .watermark = options.watermark,
            .stages = options.stages == 0 ? none_is_refused : options.stages};
}

namespace detail {

/// A batch held by this lane.
struct held_batch {
    std::uint32_t position = 0;
    batch_word word{};  ///< count 0 = none
};

/// A batch of the stage that has lost its holder, up to `want` elements of it.
[[nodiscard, gnu::cold]] held_batch acquire_again(ring_layout& ring, std::uint32_t stage,
                                                  std::uint32_t want, membership& self) noexcept;
/// Up to `want` elements of the batch at `position`, which was seen as `lost`: without a holder, or
/// with a dead one. Empty when it has moved since. For the claimant of the stage's head, `me`.
[[nodiscard, gnu::cold]] held_batch hold_again(ring_layout& ring, std::uint32_t stage,
                                               std::uint32_t position, batch_word lost,
                                               std::uint32_t want, lane_id me) noexcept;
/// Whether the oldest batch of the stage has lost its holder.
[[nodiscard]] bool is_oldest_lost(const ring_layout& ring, std::uint32_t stage,
                                  const membership& self) noexcept;
/// False when the batch is no longer this holder's.
[[nodiscard]] bool let_go(ring_layout& ring, std::uint32_t stage, const held_batch& held,
                          std::uint8_t to) noexcept;

/// Elements that have passed what lies before a stage (number `stages`: before the consumers),
/// from `position` on.
[[nodiscard]] inline std::uint32_t supplied(const ring_layout& ring, std::uint32_t number,
                                            std::uint32_t position, std::uint32_t want) noexcept
{
    if (number == 0)
        return committed_from(ring, position);
    const auto tail = stage_of(ring, number - 1).tail.load(std::memory_order_acquire);  // PASSED
    const auto there = static_cast<std::uint32_t>(tail) - position;
    return there >= want ? there : advance_tail(ring, number - 1) - position;
}

}  // namespace detail

/// Elements of a stage, held until they are released.
template <typename T>
class stage_grant {
public:
    stage_grant() noexcept = default;
    stage_grant(ring_layout& ring, std::uint32_t stage, const detail::held_batch& held,
                std::uint64_t stamp) noexcept
        : ring_{&ring}
        , stage_{stage}
        , held_{held}
        , stamp_{stamp}
    {
    }
    stage_grant(stage_grant&& other) noexcept
        : ring_{std::exchange(other.ring_, nullptr)}
        , stage_{other.stage_}
        , held_{std::exchange(other.held_, {})}
        , stamp_{other.stamp_}
    {
    }
    /// Gives back what it had.
    stage_grant& operator=(stage_grant&& other) noexcept
    {
        if (this != &other) {
            give_back();
            ring_ = std::exchange(other.ring_, nullptr);
            stage_ = other.stage_;
            held_ = std::exchange(other.held_, {});
            stamp_ = other.stamp_;
        }
        return *this;
    }
    ~stage_grant() { give_back(); }

    /// Not done: another will acquire it, as `redelivered()`. Empty afterwards.
    void give_back() noexcept
    {
        if (size() != 0)
            static_cast<void>(
                detail::let_go(*ring_, stage_, std::exchange(held_, {}), batch_word::nobody));
    }

    [[nodiscard]] std::size_t size() const noexcept { return held_.word.count; }
    explicit operator bool() const noexcept { return size() != 0; }
    /// Whether somebody has held it before and was lost, or gave it back. `attempts` says how
    /// often; it is exact up to 255.
    [[nodiscard]] bool redelivered() const noexcept { return attempts() != 0; }
    [[nodiscard]] unsigned attempts() const noexcept { return held_.word.attempts; }

    /// The element where it lies. Pointers are exchanged by `replace`.
    [[nodiscard]] std::conditional_t<std::is_pointer_v<T>, T, T&> operator[](
        std::size_t i) const noexcept
    {
        return *slot(i);
    }
    /// Puts another in its place. Of buffers, `item` becomes the ring's and the one that it
    /// replaces this member's.
    void replace(std::size_t i, const T& item) noexcept
    {
        if constexpr (std::is_pointer_v<T>) {
            auto* at = reinterpret_cast<std::uint64_t*>(slot(i));
            if (ring_->custody_offset != no_custody && item != *slot(i))
                custody::write(*slot(i), ring_->custody_offset, stamp_);
            __atomic_store_n(at, reinterpret_cast<std::uint64_t>(item), __ATOMIC_RELEASE);  // I2
        } else {
            *slot(i) = item;
        }
    }

    /// Done: it passes to the next stage, in its turn. False when it was not this lane's any more:
    /// the lane has been left meanwhile.
    bool release() noexcept
    {
        return size() != 0 &&
               detail::let_go(*ring_, stage_, std::exchange(held_, {}), batch_word::done);
    }
    /// The same, with the first elements replaced by these.
    bool release(std::span<const T> rewritten) noexcept
    {
        for (std::size_t i = 0; i != std::min(rewritten.size(), size()); ++i)
            replace(i, rewritten[i]);
        return release();
    }

private:
    [[nodiscard]] T* slot(std::size_t i) const noexcept
    {
        const auto at = (held_.position + static_cast<std::uint32_t>(i)) & ring_->mask;
        return reinterpret_cast<T*>(ring_->slots()) + at;
    }

    ring_layout* ring_ = nullptr;
    std::uint32_t stage_ = 0;
    detail::held_batch held_{};
    std::uint64_t stamp_ = 0;
};

template <typename T>
class staged_ring : public detail::buffer_handle {
    static_assert(std::is_trivially_copyable_v<T>,
                  "elements are copied as bytes between processes");

public:
    using element = T;

    static constexpr publication published = publication::in_stages;

    /// Over a ring in stages whose element size is sizeof(T); see domain::create_staged_ring.
    explicit staged_ring(ring_layout& layout) noexcept : buffer_handle{layout} {}

    [[nodiscard]] std::uint32_t stages() const noexcept { return layout_->stages; }

    /// As many of `items` as fit, in order; returns how many.
    std::size_t enqueue_burst(std::span<const T> items) noexcept
    {
        return enqueue(items, detail::amount::burst);
    }
    /// All of `items` or none; returns items.size() or 0.
    std::size_t enqueue_bulk(std::span<const T> items) noexcept
    {
        return enqueue(items, detail::amount::bulk);
    }
    bool enqueue(const T& item) noexcept { return enqueue_bulk({&item, 1}) == 1; }

    /// The next elements of a stage, up to `count` (and 65535); an empty grant when there are none.
    [[nodiscard]] stage_grant<T> acquire_burst(std::uint32_t stage, std::size_t count) noexcept
    {
        return acquire(stage, count, detail::amount::burst);
    }
    /// `count` elements or none; but a batch that has lost its holder comes as it is, up to
    /// `count`, for nobody would find the missing ones.
    [[nodiscard]] stage_grant<T> acquire_bulk(std::uint32_t stage, std::size_t count) noexcept
    {
        return acquire(stage, count, detail::amount::bulk);
    }

    /// Takes up to items.size() elements that have passed all stages; returns how many.
    std::size_t dequeue_burst(std::span<T> items) noexcept
    {
        return dequeue(items, detail::amount::burst);
    }
    /// Takes exactly items.size() of them or none; returns items.size() or 0.
    std::size_t dequeue_bulk(std::span<T> items) noexcept
    {
        return dequeue(items, detail::amount::bulk);
    }
    bool dequeue(T& item) noexcept { return dequeue_bulk({&item, 1}) == 1; }

    /// So many elements lie in a span of that size.
    [[nodiscard]] static std::size_t elements_in(std::size_t items) noexcept { return items; }

    /// Snapshots of a stage below stages().
    [[nodiscard]] stage_counts counts(std::uint32_t stage) const noexcept
    {
        return count_stage(*layout_, stage);
    }
    [[nodiscard]] stage_holder oldest(std::uint32_t stage) const noexcept
    {
        return oldest_of(*layout_, stage);
    }

private:
    template <typename>
    friend class ring_room;
    template <typename>
    friend class ring_front;

    /// Writes a claimed batch.
    void fill(std::uint32_t position, const T* items, std::uint32_t count) noexcept
    {
        detail::copy_in(*layout_, position, items, count);
    }
    /// How many of `want` have passed all stages.
    [[nodiscard]] std::uint32_t filled(std::uint32_t position, std::uint32_t want,
                                       detail::amount how) const noexcept
    {
        return detail::fitting(want, detail::supplied(*layout_, layout_->stages, position, want),
                               how);
    }

    std::size_t enqueue(std::span<const T> items, detail::amount how) noexcept
    {
        auto& shared = *layout_;
        const auto held = detail::claim_room(shared, *self_, detail::wanted(items.size()), how);
        if (held.count == 0)
            return 0;
        fill(held.position(), items.data(), held.count);
        detail::commit(shared.producer, shared.producer_mode, held, held.count);  // FILLED
        return held.count;
    }

    [[nodiscard]] stage_grant<T> acquire(std::uint32_t number, std::size_t count,
                                         detail::amount how) noexcept
    {
        auto& shared = *layout_;
        if (number >= shared.stages || count == 0)
            return {};
        const bool too_many = count > max_stage_batch && how == detail::amount::bulk;
        const auto want = static_cast<std::uint32_t>(std::min<std::size_t>(count, max_stage_batch));
        auto& stage = stage_of(shared, number);
        // Only a hint: who finds nothing else looks by itself.
        if (stage.abandoned.load(std::memory_order_relaxed) != 0) [[unlikely]]
            if (const auto again = detail::acquire_again(shared, number, want, *self_);
                again.word.count != 0)
                return {shared, number, again, stamp_};
        const auto held = detail::claim(
            shared, stage.head, ring_mode::multi, *self_, [&](std::uint32_t position) {
                return too_many ? 0
                                : detail::fitting(
                                      want, detail::supplied(shared, number, position, want), how);
            });
        if (held.count == 0) {
            if (!detail::is_oldest_lost(shared, number, *self_))
                return {};
            return {shared, number, detail::acquire_again(shared, number, want, *self_), stamp_};
        }
        const auto word = new_batch(shared, number, held.position(), held.count,
                                    static_cast<std::uint8_t>(held.word));
        batch_at(shared, held.position()).store(word.pack(), std::memory_order_release);  // HELD
        detail::commit(stage.head, ring_mode::multi, held, held.count);
        return {shared, number, {held.position(), word}, stamp_};
    }

    std::size_t dequeue(std::span<T> items, detail::amount how) noexcept
    {
        auto& shared = *layout_;
        const auto mode = shared.consumer_mode;
        const auto want = detail::wanted(items.size());
        const auto held =
            detail::claim(shared, shared.consumer, mode, *self_,
                          [&](std::uint32_t position) { return filled(position, want, how); });
        if (held.count == 0)
            return 0;
        detail::copy_out(shared, held.position(), items.data(), held.count);
        take_custody(items.first(held.count));                    // I2: before FREED
        detail::commit(shared.consumer, mode, held, held.count);  // FREED
        return held.count;
    }
};

}  // namespace cohort
