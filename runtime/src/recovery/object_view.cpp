#include "cohort/recovery/object_view.hpp"

#include <algorithm>

namespace cohort {

object_views::object_views(const memory_layout& memory)
{
    for_each_live(memory, zone_kind::mempool, [&](const memzone_layout& zone) {
        auto* pool = static_cast<mempool_layout*>(zone.data());
        const auto count = pool->count();
        pools_.push_back({pool, &zone, count, std::vector<bool>(count)});
    });
    for_each_live(memory, zone_kind::ring, [&](const memzone_layout& zone) {
        if (const auto* ring = ring_in(zone); ring && ring->custody_offset != no_custody)
            rings_.push_back(&zone);
    });
}

__attribute__((no_sanitize("thread"))) const mbuf* peek_next(const mbuf& segment) noexcept
{
    return __atomic_load_n(&segment.next, __ATOMIC_ACQUIRE);
}

__attribute__((no_sanitize("thread"))) std::uint64_t peek_share(const mbuf& buffer) noexcept
{
    return __atomic_load_n(&buffer.share, __ATOMIC_ACQUIRE);
}

__attribute__((no_sanitize("thread"))) std::uint64_t peek_cached(const lane_cache_layout& cache,
                                                                 std::uint32_t i) noexcept
{
    return reinterpret_cast<std::uint64_t>(__atomic_load_n(&cache.objects()[i], __ATOMIC_ACQUIRE));
}

object_place object_views::find(std::uint64_t handle) noexcept
{
    for (auto& view : pools_) {
        const auto index = view.pool->index_of(handle);
        if (index < view.count)
            return {&view, index};
    }
    return {};
}

void object_views::mark(std::uint64_t handle) noexcept
{
    if (const auto place = find(handle); place.view)
        place.view->marked[place.index] = true;
}

void object_views::mark_at_rest() noexcept
{
    for_each_custody_ring([&](const memzone_layout&, const ring_layout& ring) {
        for_each_handle(ring, [&](std::uint64_t handle) { mark(handle); });
    });
    for (const auto& view : pools_)
        for (lane_id lane = 1; lane != max_lanes; ++lane) {
            const auto& cache = view.pool->cache(lane);
            const auto length = std::min(cache.length.load(std::memory_order_acquire),
                                         2 * view.pool->flush_threshold);
            for (std::uint32_t i = 0; i != length; ++i)
                mark(peek_cached(cache, i));
        }
}

bool is_kept_by_clones(const mempool_layout& pool, std::uint32_t object) noexcept
{
    if (pool.kind != pool_kind::pktmbuf)
        return false;
    const auto share = peek_share(*static_cast<const mbuf*>(pool.handle(object)));
    return (share & 1) != 0 && !reference_word{share}.has_handle();
}

}  // namespace cohort
