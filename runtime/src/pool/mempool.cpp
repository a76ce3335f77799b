#include "cohort/pool/mempool.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"

#include <algorithm>
#include <new>

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

std::uint32_t stride_of(const mempool_options& options, std::uint32_t header_bytes) noexcept
{
    return align_up(header_bytes + options.element_bytes, std::uint32_t{cache_line_bytes});
}

}  // namespace

void check(const mempool_options& options)
{
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
    if (options.policy == recovery_policy::redeliver && !fixed_name<32>::fits(options.redeliver_to))
        throw error{errc::invalid_argument,
                    "the redeliver policy needs the name of a ring (redeliver_to)"};
}

std::size_t mempool_bytes(const mempool_options& options, std::uint32_t header_bytes) noexcept
{
    return sizeof(mempool_layout) + max_lanes * std::size_t{cache_stride_of(options.cache_size)} +
           ring_bytes(options.count, sizeof(void*)) +
           std::size_t{options.count} * stride_of(options, header_bytes);
}

mempool_layout& construct_mempool(void* at, const mempool_options& options,
                                  std::uint32_t header_bytes, std::int32_t custody_offset,
                                  pool_kind kind, std::uint16_t index) noexcept
{
    auto& pool = *::new (at) mempool_layout;
    pool.kind = kind;
    pool.count = options.count;
    pool.element_bytes = options.element_bytes;
    pool.header_bytes = header_bytes;
    pool.stride = stride_of(options, header_bytes);
    pool.custody_offset = custody_offset;
    pool.cache_size = options.cache_size;
    pool.flush_threshold = flush_threshold_of(options.cache_size);
    pool.cache_stride = cache_stride_of(options.cache_size);
    pool.policy = options.policy;
    pool.redeliver_to = fixed_name<32>{options.redeliver_to};
    pool.index = index;

    const auto base = reinterpret_cast<std::uint64_t>(at);
    pool.caches = base + sizeof(mempool_layout);
    pool.ring = pool.caches + max_lanes * std::uint64_t{pool.cache_stride};
    pool.objects = pool.ring + ring_bytes(options.count, sizeof(void*));
    for (lane_id lane = 0; lane != max_lanes; ++lane)
        ::new (&pool.cache(lane)) lane_cache_layout;
    construct_ring(reinterpret_cast<void*>(pool.ring), options.count, sizeof(void*), custody_offset,
                   no_ring_index, {});
    pool.magic = mempool_layout::magic_value;
    return pool;
}

void fill_mempool(mempool_layout& pool) noexcept
{
    ring<void*> backing{pool.backing()};
    for (std::uint32_t i = 0; i != pool.count; ++i)
        backing.enqueue(pool.handle(i));
}

const char* find_fault(const mempool_layout& pool) noexcept
{
    if (pool.magic != mempool_layout::magic_value)
        return "the header does not start as a pool";
    if (pool.backing().capacity != pool.count)
        return "the pool's ring does not hold all objects";
    if (const char* fault = find_fault(pool.backing()))
        return fault;
    for (lane_id lane = 0; lane != max_lanes; ++lane)
        if (pool.cache(lane).length.load(std::memory_order_acquire) > 2 * pool.flush_threshold)
            return "a cache is longer than its array";
    return nullptr;
}

bool mempool::get_slowly(std::span<void*> objects, lane_cache_layout& cache) noexcept
{
    ring<void*> backing{layout_->backing()};
    const auto length = cache.length.load(std::memory_order_relaxed);  // ours alone
    const auto count = static_cast<std::uint32_t>(objects.size());
    const auto short_by = count - length;
    if (count <= layout_->cache_size) {
        // The custody words name this member before the ring lets the objects go (I2).
        const std::span<void*> room{cache.objects() + length, short_by + layout_->cache_size};
        const auto got = static_cast<std::uint32_t>(backing.dequeue_burst(room));
        COHORT_FAULT_POINT("pool.refilled");
        cache.length.store(length + got, std::memory_order_release);  // after the objects
        if (got >= short_by) {
            take(cache, length + got, objects);
            return true;
        }
    } else if (backing.dequeue_bulk(objects) == count) {
        bump(cache.gets, count);
        return true;
    }
    bump(cache.failed, 1);
    return false;
}

void mempool::put_slowly(std::span<void* const> objects, lane_id lane) noexcept
{
    // The ring holds all objects, so only a claimant that is stopped can refuse, each time after
    // the ring's stall limit. Then the objects stay in this member's custody until it ends.
    constexpr int patience = 20;
    ring<void*> backing{layout_->backing()};
    for (int i = 0; i != patience && lane != 0; ++i)
        if (backing.enqueue_bulk(objects) == objects.size())
            return;
    layout_->cache(lane).stranded.fetch_add(static_cast<std::uint32_t>(objects.size()),
                                            std::memory_order_relaxed);  // a count
}

void mempool::flush(lane_cache_layout& cache, std::uint32_t keep) noexcept
{
    const auto length = cache.length.load(std::memory_order_relaxed);  // ours alone
    if (length <= keep)
        return;
    ring<void*> backing{layout_->backing()};
    const std::span<void* const> surplus{cache.objects() + keep, length - keep};
    cache.length.store(keep, std::memory_order_release);  // before the objects are in the ring
    COHORT_FAULT_POINT("pool.flushing");
    if (backing.enqueue_bulk(surplus) != surplus.size())
        cache.length.store(length, std::memory_order_release);  // stalled: keep them for now
}

void mempool::flush() noexcept
{
    const auto lane = membership_of(layout_).lane();
    if (lane != 0)
        flush(layout_->cache(lane), 0);
}

std::size_t mempool::available() const noexcept
{
    std::size_t total = layout_->backing().count();
    for (lane_id lane = 1; lane != max_lanes; ++lane)
        total += layout_->cache(lane).length.load(std::memory_order_acquire);
    return std::min<std::size_t>(total, layout_->count);
}

}  // namespace cohort
