#include "cohort/pool/mempool.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/pool/pool_growth.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <numeric>

#include <fmt/format.h>

namespace cohort {
namespace {

std::uint32_t flush_threshold_of(std::uint32_t cache_size) noexcept
{
    return cache_size + cache_size / 2;  // as rte_mempool
}

std::uint32_t cache_stride_of(std::uint32_t cache_size) noexcept
{
    // Room above the threshold for the put that trips the flush.
    const auto objects = 2 * flush_threshold_of(cache_size);
    return static_cast<std::uint32_t>(
        align_up(sizeof(lane_cache_layout) + objects * sizeof(void*), cache_line_bytes));
}

/// With a number of lines that has no factor in common with that of memory channels, neighbours
/// begin on different channels. Four is what servers have, or a part of it; as rte_mempool assumes.
std::uint32_t stride_of(const mempool_options& options, std::uint32_t header_bytes) noexcept
{
    constexpr std::uint32_t channels = 4;
    const auto stride = align_up(header_bytes + options.element_bytes, options.alignment);
    const bool alike = std::gcd(stride / options.alignment, channels) != 1;
    return options.spread && alike ? stride + options.alignment : stride;
}

std::uint64_t area_of(const mempool_options& options) noexcept
{
    return align_up(std::uint64_t{options.private_area_bytes}, std::uint64_t{cache_line_bytes});
}

/// Of options that have been checked.
publication store_of(const mempool_options& options) noexcept
{
    return pool_store::find(options.backing).value_or(publication::by_slot);
}

}  // namespace

void check(const mempool_options& options)
{
    if (!pool_store::find(options.backing))
        throw error{errc::invalid_argument,
                    fmt::format("there is no backing \"{}\" for a pool; there are \"ring\" and "
                                "\"stack\"",
                                options.backing)};
    if (options.count == 0 || options.count > max_ring_capacity)
        throw error{errc::invalid_argument,
                    fmt::format("a pool of {} objects is asked for; 1 to {} "
                                "are allowed",
                                options.count, max_ring_capacity)};
    if (options.element_bytes == 0)
        throw error{errc::invalid_argument, "a pool element must have at least 1 byte"};
    if (options.cache_size > max_cache_size ||
        std::uint64_t{flush_threshold_of(options.cache_size)} > options.count)
        throw error{
            errc::invalid_argument,
            fmt::format("a cache of {} objects is asked for in a pool of {}; at most {} and "
                        "two thirds of the pool are allowed",
                        options.cache_size, options.count, max_cache_size)};
    if (!std::has_single_bit(options.alignment) || options.alignment < cache_line_bytes ||
        options.alignment > max_object_alignment)
        throw error{errc::invalid_argument,
                    fmt::format("objects aligned to {} bytes are asked for; a power of two from {} "
                                "to {} is allowed",
                                options.alignment, cache_line_bytes, max_object_alignment)};
    if (options.policy == recovery_policy::redeliver && !fixed_name<32>::fits(options.redeliver_to))
        throw error{errc::invalid_argument,
                    "the redeliver policy needs the name of a ring (redeliver_to)"};
}

std::size_t mempool_bytes(const mempool_options& options, std::uint32_t header_bytes,
                          pool_filling when) noexcept
{
    const auto before = sizeof(mempool_layout) + area_of(options) +
                        max_lanes * std::size_t{cache_stride_of(options.cache_size)} +
                        max_pool_chunks * sizeof(pool_chunk_layout) +
                        ring_bytes(options.count, sizeof(void*), store_of(options));
    if (when == pool_filling::later)
        return before;
    // A span begins at a line only.
    const auto slack = options.alignment - cache_line_bytes;
    return before + slack + std::size_t{options.count} * stride_of(options, header_bytes);
}

mempool_layout& construct_mempool(void* at, const mempool_options& options,
                                  std::uint32_t header_bytes, std::int32_t custody_offset,
                                  pool_kind kind, std::uint16_t index, pool_filling when) noexcept
{
    auto& pool = *::new (at) mempool_layout;
    pool.kind = kind;
    pool.capacity = options.count;
    pool.element_bytes = options.element_bytes;
    pool.header_bytes = header_bytes;
    pool.stride = stride_of(options, header_bytes);
    pool.alignment = options.alignment;
    pool.custody_offset = custody_offset;
    pool.cache_size = options.cache_size;
    pool.flush_threshold = flush_threshold_of(options.cache_size);
    pool.cache_stride = cache_stride_of(options.cache_size);
    pool.policy = options.policy;
    pool.redeliver_to = fixed_name<32>{options.redeliver_to};
    pool.index = index;

    const auto base = reinterpret_cast<std::uint64_t>(at);
    pool.private_area_bytes = options.private_area_bytes;
    pool.caches = base + sizeof(mempool_layout) + area_of(options);
    pool.chunks = pool.caches + max_lanes * std::uint64_t{pool.cache_stride};
    pool.ring = pool.chunks + max_pool_chunks * sizeof(pool_chunk_layout);
    for (lane_id lane = 0; lane != max_lanes; ++lane)
        ::new (&pool.cache(lane)) lane_cache_layout;
    construct_ring(reinterpret_cast<void*>(pool.ring), options.count, sizeof(void*),
                   store_of(options), custody_offset, no_ring_index, {});
    if (when == pool_filling::at_once) {
        const auto from = pool.ring + ring_bytes(options.count, sizeof(void*), store_of(options));
        const auto end = base + mempool_bytes(options, header_bytes, when);
        auto chunk = plan_chunk(pool, from, end - from);
        chunk.zone = index;
        list_chunk(pool, chunk);
    }
    pool.magic = mempool_layout::magic_value;
    return pool;
}

void fill_mempool(mempool_layout& pool, const object_constructor& construct)
{
    pool_store backing{pool.backing()};
    for (std::uint32_t i = 0, count = pool.count(); i != count; ++i) {
        if (construct)
            construct(pool.handle(i), i);
        void* object = pool.handle(i);
        backing.put_bulk({&object, 1});
    }
}

const char* find_fault(const mempool_layout& pool) noexcept
{
    if (pool.magic != mempool_layout::magic_value)
        return "the header does not start as a pool";
    if (pool.backing().capacity != pool.capacity)
        return "the pool's ring does not hold all objects";
    if (const char* fault = find_chunk_fault(pool))
        return fault;
    if (const char* fault = find_fault(pool.backing()))
        return fault;
    for (lane_id lane = 0; lane != max_lanes; ++lane)
        if (pool.cache(lane).length.load(std::memory_order_acquire) > 2 * pool.flush_threshold)
            return "a cache is longer than its array";
    return nullptr;
}

bool mempool::get_slowly(std::span<void*> objects, lane_cache_layout& cache) noexcept
{
    pool_store backing{layout_->backing()};
    const auto length = cache.length.load(std::memory_order_relaxed);  // ours alone
    const auto count = static_cast<std::uint32_t>(objects.size());
    const auto short_by = count - length;
    if (count <= layout_->cache_size) {
        // The custody words name this member before the ring lets the objects go (I2).
        const std::span<void*> room{cache.objects() + length, short_by + layout_->cache_size};
        const auto got = static_cast<std::uint32_t>(backing.get_burst(room));
        COHORT_FAULT_POINT("pool.refilled");
        cache.length.store(length + got, std::memory_order_release);  // after the objects
        if (got >= short_by) {
            take(cache, length + got, objects);
            return true;
        }
    } else if (backing.get_bulk(objects) == count) {
        bump(cache.gets, count);
        return true;
    }
    bump(cache.failed, 1);
    ask_others(cache);
    return false;
}

void mempool::ask_others(const lane_cache_layout& own) noexcept
{
    for (lane_id lane = 1; lane != max_lanes; ++lane) {
        auto& cache = layout_->cache(lane);
        if (&cache != &own && cache.length.load(std::memory_order_relaxed) != 0 &&
            cache.asked.load(std::memory_order_relaxed) == 0)
            cache.asked.store(1, std::memory_order_relaxed);  // a wish, orders nothing
    }
}

void mempool::flush_for_others(lane_cache_layout& cache) noexcept
{
    cache.asked.store(0, std::memory_order_relaxed);
    flush(cache, 0);
}

void mempool::put_slowly(std::span<void* const> objects, lane_id lane) noexcept
{
    // The ring holds all objects, so only a claimant that is stopped can refuse, each time after
    // the ring's stall limit. Then the objects stay in this member's custody until it ends.
    constexpr int patience = 20;
    pool_store backing{layout_->backing()};
    hold(objects);
    if (lane != 0)
        bump(layout_->cache(lane).puts, static_cast<std::uint32_t>(objects.size()));
    for (int i = 0; i != patience && lane != 0; ++i)
        if (backing.put_bulk(objects) == objects.size())
            return;
    layout_->cache(lane).stranded.fetch_add(static_cast<std::uint32_t>(objects.size()),
                                            std::memory_order_relaxed);  // a count
}

void mempool::flush(lane_cache_layout& cache, std::uint32_t keep) noexcept
{
    const auto length = cache.length.load(std::memory_order_relaxed);  // ours alone
    if (length <= keep)
        return;
    pool_store backing{layout_->backing()};
    const std::span<void* const> surplus{cache.objects() + keep, length - keep};
    cache.length.store(keep, std::memory_order_release);  // before the objects are in the ring
    COHORT_FAULT_POINT("pool.flushing");
    if (backing.put_bulk(surplus) != surplus.size())
        cache.length.store(length, std::memory_order_release);  // stalled: keep them for now
}

void mempool::flush() noexcept
{
    const auto lane = self_->lane();
    if (lane != 0)
        flush(layout_->cache(lane), 0);
}

std::size_t mempool::available() const noexcept
{
    std::size_t total = layout_->backing().count();
    for (lane_id lane = 1; lane != max_lanes; ++lane)
        total += layout_->cache(lane).length.load(std::memory_order_acquire);
    return std::min<std::size_t>(total, layout_->count());
}

}  // namespace cohort
