#pragma once
/// Rings and pools as the reaper and the audit walk them: all of them, by address.

#include "cohort/member/member_layout.hpp"
#include "cohort/memory/memory_layout.hpp"
#include "cohort/packet/mbuf.hpp"
#include "cohort/pool/mempool_layout.hpp"
#include "cohort/ring/ring_zone.hpp"

#include <cstdint>
#include <vector>

namespace cohort {

/// One pool and a mark for each of the objects that it had when the view was made. What has been
/// added since is no object to the view.
struct pool_view {
    mempool_layout* pool = nullptr;
    const memzone_layout* zone = nullptr;
    std::uint32_t count = 0;
    std::vector<bool> marked;
};

/// An object found from its address.
struct object_place {
    pool_view* view = nullptr;  ///< nullptr: the address is no object of a live pool
    std::uint32_t index = 0;
};

class object_views {
public:
    explicit object_views(const memory_layout& memory);

    [[nodiscard]] std::vector<pool_view>& pools() noexcept { return pools_; }
    [[nodiscard]] object_place find(std::uint64_t handle) noexcept;
    /// Marks what lies in rings and caches, in nobody's hands.
    void mark_at_rest() noexcept;

    /// Calls `visit(zone or nullptr, ring)` for each ring that holds handles of buffers: the pools'
    /// own (zone = the pool's) and named ones.
    template <typename Visit>
    void for_each_custody_ring(Visit&& visit)
    {
        for (auto& view : pools_)
            visit(*view.zone, view.pool->backing());
        for (const auto* zone : rings_)
            if (auto* ring = ring_in(*zone))  // written over since, perhaps
                visit(*zone, *ring);
    }

private:
    void mark(std::uint64_t handle) noexcept;

    std::vector<pool_view> pools_;
    std::vector<const memzone_layout*> rings_;
};

/// Calls `visit(handle)` for each element of a custody ring, oldest first, or of a stack, lowest
/// first. Others may be at work.
template <typename Visit>
void for_each_handle(const ring_layout& ring, Visit&& visit)
{
    if (ring.published == publication::by_height) {
        // What stays in it stays where it is, so this finds all that was in it and is still.
        for (std::uint32_t i = 0, height = ring.count(); i != height; ++i)
            visit(peek_word(ring, i));
        return;
    }
    // The consumer first: what lies between was in the ring at that moment or has come since.
    auto position = ring.consumer.load().position;
    for (auto left = ring.count_from(position); left != 0; --left)
        visit(peek_word(ring, position++));
    // Behind that may lie what a dead producer has published while somebody takes its side over.
    for (auto left = ring.mask; left != 0 && is_published(ring, position); --left)
        visit(peek_word(ring, position++));
    // If the side has moved meanwhile, that is committed, and the walk may have ended too early.
    for (auto left = ring.count_from(position); left != 0; --left)
        visit(peek_word(ring, position++));
}

/// Words that a live owner may be writing at this moment, for a look that is repeated or confirmed.
[[nodiscard]] const mbuf* peek_next(const mbuf& segment) noexcept;
[[nodiscard]] std::uint64_t peek_share(const mbuf& buffer) noexcept;
[[nodiscard]] std::uint64_t peek_cached(const lane_cache_layout& cache, std::uint32_t i) noexcept;

/// Whether the buffer is in nobody's hands: then its custody word is history.
[[nodiscard]] bool is_kept_by_clones(const mempool_layout& pool, std::uint32_t object) noexcept;

/// Whether the member that a custody word names has not been reaped.
[[nodiscard]] inline bool holder_lives(const member_table_layout& members,
                                       std::uint64_t word) noexcept
{
    if (!custody::names_member(word))
        return false;
    const auto member = members.members[custody::member_of(word)].word();
    return member.state != member_state::empty &&
           member.generation == static_cast<std::uint32_t>(word);
}

[[nodiscard]] inline std::uint64_t custody_of(const mempool_layout& pool,
                                              std::uint32_t object) noexcept
{
    return custody::word_at(pool.handle(object), pool.custody_offset)
        .load(std::memory_order_acquire);
}

/// Calls `visit(index, custody word)` for each object that is in a member's hands, or waits for
/// one: after `mark_at_rest`.
template <typename Visit>
void for_each_in_hand(const pool_view& view, Visit&& visit)
{
    for (std::uint32_t i = 0; i != view.count; ++i) {
        const auto word = custody_of(*view.pool, i);
        if (!view.marked[i] && !custody::is_follower(word) && custody::holder_of(word) != 0 &&
            !is_kept_by_clones(*view.pool, i))
            visit(i, word);
    }
}

}  // namespace cohort
