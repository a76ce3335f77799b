#pragma once
/// A pool of fixed-size objects, shared by all members, with a cache for each lane.
///
/// Semantics of rte_mempool: a bulk get gives all or none; the caches are LIFO; refill and flush go
/// to the pool's own ring, or stack (pool_store.hpp). Caches belong to lanes, and lanes are handed
/// out by the region, so two processes never share one.
///
/// *Thread safety*: any lane of any member.
/// *When a process dies here*: what its caches and hands held comes back when the member is reaped;
/// see mempool_layout.hpp.
///
/// Cost of a get or put that the cache serves: no atomic read-modify-write, no line that another
/// lane writes unless it is in want. A put reads the custody word of each object, and writes them
/// only if one differs: what was gotten from a pool carries the right one.

#include "cohort/pool/mempool_layout.hpp"
#include "cohort/pool/pool_store.hpp"

#include <cstring>
#include <span>

namespace cohort {

class mempool {
public:
    explicit mempool(mempool_layout& layout) noexcept
        : layout_{&layout}
        , self_{&membership_of(&layout)}
    {
    }

    /// Fills `objects` with handles, or returns false and touches nothing. Then the other lanes
    /// have been asked for what is in their caches: they flush at their next call, and a later get
    /// finds it. A lane that calls no more keeps its cache until it leaves or dies.
    [[nodiscard]] bool get_bulk(std::span<void*> objects) noexcept
    {
        auto& pool = *layout_;
        const auto lane = self_->lane();
        if (lane == 0) [[unlikely]]
            return false;
        auto& cache = pool.cache(lane);
        const auto length = cache.length.load(std::memory_order_relaxed);  // ours alone
        const auto count = static_cast<std::uint32_t>(objects.size());
        if (length < count) [[unlikely]]
            return get_slowly(objects, cache);
        take(cache, length, objects);
        if (cache.asked.load(std::memory_order_relaxed) != 0) [[unlikely]]  // in the line of length
            flush_for_others(cache);
        return true;
    }
    /// One object, or nullptr.
    [[nodiscard]] void* get() noexcept
    {
        void* object = nullptr;
        return get_bulk({&object, 1}) ? object : nullptr;
    }

    /// Gives objects back. They must be of this pool and held by this member. When a process that
    /// is stopped keeps the pool's ring, or this thread has no lane, objects that no cache takes
    /// stay in the member's custody (counted as stranded) and come back when it ends.
    void put_bulk(std::span<void* const> objects) noexcept
    {
        auto& pool = *layout_;
        const auto lane = self_->lane();
        auto& cache = pool.cache(lane);
        const auto length = cache.length.load(std::memory_order_relaxed);  // ours alone
        const auto count = static_cast<std::uint32_t>(objects.size());
        // Larger than a cache, or behind a stalled flush.
        if (lane == 0 || count > pool.flush_threshold || length > pool.flush_threshold)
            [[unlikely]] {
            put_slowly(objects, lane);
            return;
        }
        hold(objects);
        copy_handles(cache.objects() + length, objects.data(), count);
        cache.length.store(length + count, std::memory_order_release);  // after the objects
        bump(cache.puts, count);
        if (length + count > pool.flush_threshold) [[unlikely]]
            flush(cache, pool.cache_size);
        if (cache.asked.load(std::memory_order_relaxed) != 0) [[unlikely]]
            flush_for_others(cache);
    }
    void put(void* object) noexcept { put_bulk({&object, 1}); }

    /// Empties the calling lane's cache into the pool's ring.
    void flush() noexcept;

    /// Objects in the ring and in all caches: a snapshot, exact when nobody is at work.
    [[nodiscard]] std::size_t available() const noexcept;
    /// Objects that it has by now: `capacity()`, unless it was made empty.
    [[nodiscard]] std::size_t count() const noexcept { return layout_->count(); }
    [[nodiscard]] std::size_t capacity() const noexcept { return layout_->capacity; }
    [[nodiscard]] std::size_t in_use() const noexcept
    {
        const auto free = available();  // first: the count only grows
        return count() - free;
    }
    /// Calls `visit(chunk, index)` for each chunk of memory with objects; returns their number. (As
    /// rte_mempool_mem_iter.)
    template <typename Visit>
    std::uint32_t for_each_chunk(Visit&& visit) const
    {
        std::uint32_t index = 0;
        for (const auto& chunk : layout_->listed())
            visit(chunk, index++);
        return index;
    }
    /// Calls `visit(object, index)` for each object, wherever it is; returns their number. Others
    /// may be using them. (As rte_mempool_obj_iter.)
    template <typename Visit>
    std::uint32_t for_each_object(Visit&& visit) const
    {
        const auto objects = layout_->count();
        for (std::uint32_t i = 0; i != objects; ++i)
            visit(layout_->handle(i), i);
        return objects;
    }
    /// Zeroed at creation; the same bytes for all members.
    [[nodiscard]] std::span<std::byte> private_area() const noexcept
    {
        return {layout_->private_area(), layout_->private_area_bytes};
    }
    [[nodiscard]] mempool_layout& layout() const noexcept { return *layout_; }

private:
    static void bump(std::atomic<std::uint64_t>& counter, std::uint32_t by) noexcept
    {
        counter.store(counter.load(std::memory_order_relaxed) + by,  // one writer
                      std::memory_order_relaxed);
    }
    /// The newest ones, as rte_mempool does, in the order in which they were put.
    static void take(lane_cache_layout& cache, std::uint32_t length, std::span<void*> out) noexcept
    {
        const auto count = static_cast<std::uint32_t>(out.size());
        copy_handles(out.data(), cache.objects() + length - count, count);
        cache.length.store(length - count, std::memory_order_release);  // after the objects
        bump(cache.gets, count);
    }

    /// I3: from here on the objects carry this member's word, without RECEIVED.
    void hold(std::span<void* const> objects) const noexcept
    {
        if constexpr (!custody::is_written)
            return;
        const auto holder = self_->holder();
        const auto offset = layout_->custody_offset;
        const auto differs = [&](void* object) {
            return custody::word_at(object, offset).load(std::memory_order_relaxed) ^ holder;
        };
        // A branch for four: what was received differs from the first on, what was gotten nowhere.
        bool mine = true;
        auto rest = objects;
        for (; mine && rest.size() >= 4; rest = rest.subspan(4))
            mine = (differs(rest[0]) | differs(rest[1]) | differs(rest[2]) | differs(rest[3])) == 0;
        for (void* object : rest)
            mine = mine && differs(object) == 0;
        if (mine)
            return;
        for (void* object : objects)
            custody::write(object, offset, holder);  // ours alone
    }

    /// Without a call for the usual bursts; the rest one by one, which for so few is quicker than
    /// the vectors that a compiler would make of it.
    static void copy_handles(void** to, void* const* from, std::uint32_t count) noexcept
    {
        for (; count >= 8; count -= 8, to += 8, from += 8)
            std::memcpy(to, from, 8 * sizeof(void*));
        for (; count != 0; --count)
            std::atomic_ref{*to++}.store(*from++, std::memory_order_relaxed);
    }

    bool get_slowly(std::span<void*> objects, lane_cache_layout& cache) noexcept;
    void put_slowly(std::span<void* const> objects, lane_id lane) noexcept;
    void flush(lane_cache_layout& cache, std::uint32_t keep) noexcept;
    void flush_for_others(lane_cache_layout& cache) noexcept;
    void ask_others(const lane_cache_layout& own) noexcept;
    friend class pool_cache;

    mempool_layout* layout_;
    membership* self_;
};

/// When a pool gets its objects.
enum class pool_filling { at_once, later };

/// Bytes of a pool with these options, rounded to lines. `header_bytes` precede each element.
[[nodiscard]] std::size_t mempool_bytes(const mempool_options& options, std::uint32_t header_bytes,
                                        pool_filling when) noexcept;

/// Lays a pool out in zeroed memory; its ring is still empty. Options must have been checked.
mempool_layout& construct_mempool(void* at, const mempool_options& options,
                                  std::uint32_t header_bytes, std::int32_t custody_offset,
                                  pool_kind kind, std::uint16_t index, pool_filling when) noexcept;

/// Constructs every object and puts it into the ring of a pool that nobody else has seen.
void fill_mempool(mempool_layout& pool, const object_constructor& construct);

/// Throws `errc::invalid_argument` with actual and allowed values.
void check(const mempool_options& options);

/// nullptr when the invariants hold, else the one that does not, in words.
[[nodiscard]] const char* find_fault(const mempool_layout& pool) noexcept;

/// Header in front of each object of a pool that is no mbuf pool: holds the custody word.
inline constexpr std::uint32_t object_header_bytes = cache_line_bytes;
inline constexpr std::int32_t object_custody_offset =
    -static_cast<std::int32_t>(object_header_bytes);

}  // namespace cohort
