#include "cohort/pool/pool_growth.hpp"

#include "cohort/base/fault_point.hpp"
#include "cohort/pool/pool_store.hpp"

#include <algorithm>
#include <array>

namespace cohort {
namespace {

pool_chunk_layout& chunk_at(const mempool_layout& pool, std::uint32_t i) noexcept
{
    return reinterpret_cast<pool_chunk_layout*>(pool.chunks)[i];
}

/// Objects begin here: their elements, behind the header, are aligned.
std::uint64_t objects_from(const mempool_layout& pool, std::uint64_t address) noexcept
{
    return align_up(address + pool.header_bytes, std::uint64_t{pool.alignment}) - pool.header_bytes;
}

bool overlaps(const pool_chunk_layout& a, const pool_chunk_layout& b) noexcept
{
    return a.address < b.address + b.bytes && b.address < a.address + a.bytes;
}

const char* find_chunk_fault(const mempool_layout& pool, const pool_chunk_layout& chunk,
                             std::uint32_t expected_first) noexcept
{
    if (chunk.count == 0 || chunk.first != expected_first)
        return "its chunks leave out an index, or give one twice";
    if (chunk.count > pool.capacity - chunk.first)
        return "it has more objects than it may have";
    if (chunk.objects < chunk.address ||
        chunk.objects + std::uint64_t{chunk.count} * pool.stride > chunk.address + chunk.bytes)
        return "a chunk has objects outside its memory";
    if ((chunk.objects + pool.header_bytes) % pool.alignment != 0)
        return "the objects of a chunk are not aligned";
    return nullptr;
}

}  // namespace

std::uint64_t chunk_bytes(const mempool_layout& pool, std::uint32_t count) noexcept
{
    return objects_from(pool, 0) + std::uint64_t{count} * pool.stride;
}

pool_chunk_layout plan_chunk(const mempool_layout& pool, std::uint64_t address,
                             std::uint64_t bytes) noexcept
{
    pool_chunk_layout chunk{.address = address,
                            .bytes = bytes,
                            .objects = objects_from(pool, address),
                            .first = pool.count()};
    const auto end = address + bytes;
    const auto fit = chunk.objects < end ? (end - chunk.objects) / pool.stride : 0;
    chunk.count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(fit, pool.capacity - chunk.first));
    return chunk;
}

void* handle_in(const mempool_layout& pool, const pool_chunk_layout& chunk,
                std::uint32_t i) noexcept
{
    return reinterpret_cast<void*>(chunk.objects + std::uint64_t{i} * pool.stride +
                                   pool.header_bytes);
}

void list_chunk(mempool_layout& pool, const pool_chunk_layout& chunk) noexcept
{
    const auto place = pool.chunk_count.load(std::memory_order_relaxed);  // locked
    chunk_at(pool, place) = chunk;
    COHORT_FAULT_POINT("pool.chunk_written");
    pool.chunk_count.store(place + 1, std::memory_order_release);  // LISTED
    COHORT_FAULT_POINT("pool.chunk_listed");
}

void put_chunk(mempool_layout& pool, const pool_chunk_layout& chunk, lane_id lane) noexcept
{
    constexpr int patience = 20;  // stall limits of the pool's ring
    pool_store backing{pool.backing()};
    std::array<void*, 64> handles{};
    int tries = 0;
    for (std::uint32_t done = 0; done != chunk.count;) {
        const auto some = std::min<std::uint32_t>(chunk.count - done, handles.size());
        for (std::uint32_t i = 0; i != some; ++i)
            handles[i] = handle_in(pool, chunk, done + i);
        const auto put = static_cast<std::uint32_t>(
            backing.put_burst(std::span<void* const>{handles.data(), some}));
        COHORT_FAULT_POINT("pool.chunk_putting");
        done += put;
        if (put == 0 && ++tries == patience) {
            pool.cache(lane).stranded.fetch_add(chunk.count - done,
                                                std::memory_order_relaxed);  // a count
            return;
        }
    }
}

bool is_listed(const memory_layout& memory, const memzone_layout& zone) noexcept
{
    if (zone.parent >= memory.zone_count)
        return false;
    const auto& parent = memory.zones[zone.parent];
    if (!parent.is_live() || parent.kind != zone_kind::mempool)
        return false;
    const auto index = static_cast<std::uint32_t>(&zone - memory.zones);
    const auto all = static_cast<const mempool_layout*>(parent.data())->listed();
    return std::any_of(all.begin(), all.end(), [&](const pool_chunk_layout& chunk) {
        return chunk.memory == chunk_memory::reserved && chunk.zone == index &&
               chunk.generation == zone.word().generation;
    });
}

void release_chunks(memory& segments, const memzone_layout& pool, actor who) noexcept
{
    const auto parent = segments.index_of(pool);
    for_each_live(segments.layout(), zone_kind::pool_chunk, [&](memzone_layout& zone) {
        if (zone.parent == parent && segments.begin_release(zone, who)) {
            COHORT_FAULT_POINT("pool.chunk_dying");
            segments.release(zone);
        }
    });
}

void settle_chunks(memory& segments, member_id dead, actor who) noexcept
{
    for_each_used(segments.layout(), [&](memzone_layout& zone) {
        const auto word = zone.word();
        if (word.member != dead)
            return;
        if (word.state == zone_state::init && zone.kind == zone_kind::pool_chunk &&
            is_listed(segments.layout(), zone)) {
            segments.publish(zone, who);
            COHORT_FAULT_POINT("pool.chunk_settled");
        }
        if (word.state == zone_state::dying && zone.kind == zone_kind::mempool)
            release_chunks(segments, zone, who);
    });
}

const memzone_layout* pool_in(const memory& segments, const memzone_layout& zone) noexcept
{
    const memzone_layout* found = nullptr;
    const auto index = segments.index_of(zone);
    for_each_live(segments.layout(), zone_kind::mempool, [&](const memzone_layout& pool) {
        for (const auto& chunk : static_cast<const mempool_layout*>(pool.data())->listed())
            if (chunk.memory == chunk_memory::brought && chunk.zone == index &&
                chunk.generation == zone.word().generation)
                found = &pool;
    });
    return found;
}

const char* find_chunk_fault(const mempool_layout& pool) noexcept
{
    if (pool.chunk_count.load(std::memory_order_acquire) > max_pool_chunks)  // LISTED
        return "it lists more chunks than there is room for";
    const auto all = pool.listed();
    std::uint32_t first = 0;
    for (std::size_t i = 0; i != all.size(); ++i) {
        if (const char* fault = find_chunk_fault(pool, all[i], first))
            return fault;
        for (std::size_t other = 0; other != i; ++other)
            if (overlaps(all[i], all[other]))
                return "two chunks lie in the same memory";
        first = all[i].first + all[i].count;
    }
    return nullptr;
}

}  // namespace cohort
