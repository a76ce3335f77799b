#pragma once
/// A mempool as it lies in the region: one span, and the memory that was added to it later.
///
///   mempool_layout | private area | caches, one per lane | chunks | ring (all objects fit) |
///   objects, stride bytes each, of a pool that is made whole
///
/// Object: header_bytes, then the element; a handle points at the element. The custody word is
/// custody_offset bytes from the handle.
///
/// Chunks say where objects lie, in the order in which they were added: see pool_growth.hpp. An
/// object's index counts through all of them. Once listed, a chunk never changes nor goes.
///
/// The pool's own ring may be a stack: see pool_store.hpp.
///
/// Each object is in exactly one place: the ring, one lane's cache, another ring, the hands of the
/// member its custody word names, or behind the head of a chain. `audit` counts them.
///
/// A cache belongs to its lane's thread, which alone writes it, but for `asked`: a lane that found
/// the pool empty sets it, and the cache's thread flushes all at its next call. The objects [0,
/// length) are in it:
///   put   objects first, then length      get    objects first, then length
///   refill  ring, then length             flush  length, then ring
/// So a thread killed at any instruction leaves no object in two places. What is in neither carries
/// the member's custody word and comes back when the member dies.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/fixed_name.hpp"
#include "cohort/member/custody.hpp"
#include "cohort/member/member_layout.hpp"
#include "cohort/memory/numa.hpp"
#include "cohort/ring/ring_layout.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

namespace cohort {

inline constexpr std::uint32_t max_cache_size = 512;
inline constexpr std::uint32_t max_object_alignment = 4096;

/// What becomes of buffers that a dead member had received (taken from a ring, neither freed nor
/// passed on). All others that it held go back to the pool.
enum class recovery_policy : std::uint32_t {
    release = 0,    ///< back to the pool as well
    redeliver = 1,  ///< into the ring named by the pool
    give_back = 2,  ///< into the ring they were received from
};

enum class pool_kind : std::uint32_t { objects = 1, pktmbuf = 2 };

struct alignas(cache_line_bytes) lane_cache_layout {
    std::atomic<std::uint32_t> length{0};    ///< written by the lane's thread only
    std::atomic<std::uint32_t> stranded{0};  ///< puts that a stopped process kept out of the ring
    std::atomic<std::uint64_t> gets{0};      ///< objects, written by the lane's thread only
    std::atomic<std::uint64_t> puts{0};
    std::atomic<std::uint64_t> failed{0};  ///< gets refused for want of objects
    std::atomic<std::uint32_t> asked{0};   ///< 1 = somebody needs what is in here

    [[nodiscard]] void** objects() noexcept { return reinterpret_cast<void**>(this + 1); }
    [[nodiscard]] void* const* objects() const noexcept
    {
        return reinterpret_cast<void* const*>(this + 1);
    }
};
static_assert(shared_layout<lane_cache_layout> && sizeof(lane_cache_layout) == 64);

/// Whose the memory of a chunk is.
enum class chunk_memory : std::uint32_t {
    of_pool = 0,   ///< part of the pool's span
    reserved = 1,  ///< an entry of its own, released with the pool
    brought = 2,   ///< the user's, who keeps it until the pool is destroyed
};

inline constexpr std::uint32_t max_pool_chunks = 64;

/// Memory that objects of a pool lie in. Written once, before it is listed.
struct alignas(cache_line_bytes) pool_chunk_layout {
    std::uint64_t address = 0;  ///< of the memory
    std::uint64_t bytes = 0;
    std::uint64_t objects = 0;     ///< address of its first object, header included
    std::uint32_t first = 0;       ///< index of that in the pool
    std::uint32_t count = 0;       ///< objects, at least one
    std::uint32_t zone = 0;        ///< index of the entry that the memory is of
    std::uint32_t generation = 0;  ///< of that entry
    chunk_memory memory{};
    std::uint32_t reserved_[5]{};
};
static_assert(shared_layout<pool_chunk_layout> && sizeof(pool_chunk_layout) == 64);

struct alignas(cache_line_bytes) mempool_layout {
    static constexpr std::uint32_t magic_value = 0x4c504f43;  // "COPL"
    static constexpr std::uint32_t no_object = 0xffffffff;

    std::uint32_t magic = 0;
    pool_kind kind{};
    std::uint32_t capacity = 0;  ///< objects that it may have
    std::uint32_t element_bytes = 0;
    std::uint32_t header_bytes = 0;
    std::uint32_t stride = 0;  ///< bytes from one object to the next
    std::int32_t custody_offset = 0;
    std::uint32_t cache_size = 0;       ///< objects a cache is refilled to
    std::uint32_t flush_threshold = 0;  ///< objects above which a cache is flushed to cache_size
    std::uint32_t cache_stride = 0;     ///< bytes
    std::uint64_t caches = 0;           ///< addresses
    std::uint64_t ring = 0;
    std::uint64_t history = 0;  ///< of a pktmbuf pool: address of its side table; 0 = none
    alignas(cache_line_bytes) std::uint64_t chunks = 0;  ///< address
    recovery_policy policy{};
    std::uint16_t index = 0;          ///< of its entry in the zone table
    std::uint16_t private_bytes = 0;  ///< of each mbuf, behind its header
    std::uint16_t data_room = 0;      ///< of each mbuf, headroom included
    std::uint16_t pinned = 0;         ///< 1 = the buffers of its mbufs are external and stay so
    std::uint16_t reserved_[2]{};
    fixed_name<32> redeliver_to;                   ///< ring name, for recovery_policy::redeliver
    std::uint32_t private_area_bytes = 0;          ///< behind this header, for the pool's users
    std::uint32_t alignment = 0;                   ///< of each element
    alignas(cache_line_bytes) owner_lock growing;  ///< who adds a chunk, or destroys the pool
    std::atomic<std::uint32_t> chunk_count{0};     ///< chunks that are listed (LISTED)
    std::atomic<std::uint32_t> growths{0};         ///< begun: numbers the entries of chunks

    [[nodiscard]] lane_cache_layout& cache(lane_id lane) const noexcept
    {
        return *reinterpret_cast<lane_cache_layout*>(caches + std::uint64_t{lane} * cache_stride);
    }
    [[nodiscard]] std::byte* private_area() noexcept
    {
        return reinterpret_cast<std::byte*>(this + 1);
    }
    [[nodiscard]] ring_layout& backing() const noexcept
    {
        return *reinterpret_cast<ring_layout*>(ring);
    }
    [[nodiscard]] std::span<const pool_chunk_layout> listed() const noexcept
    {
        return {reinterpret_cast<const pool_chunk_layout*>(chunks),
                std::min(chunk_count.load(std::memory_order_acquire), max_pool_chunks)};  // LISTED
    }
    /// Objects that it has by now.
    [[nodiscard]] std::uint32_t count() const noexcept
    {
        const auto all = listed();
        return all.empty() ? 0 : all.back().first + all.back().count;
    }
    /// REQUIRES: i < count().
    [[nodiscard]] void* handle(std::uint32_t i) const noexcept
    {
        const auto* chunk = reinterpret_cast<const pool_chunk_layout*>(chunks);
        while (i - chunk->first >= chunk->count)
            ++chunk;
        return reinterpret_cast<void*>(chunk->objects + std::uint64_t{i - chunk->first} * stride +
                                       header_bytes);
    }
    /// Which object that handle is, or `no_object` when it is none of this pool's.
    [[nodiscard]] std::uint32_t index_of(std::uint64_t handle_address) const noexcept
    {
        for (const auto& chunk : listed()) {
            const auto offset = handle_address - chunk.objects - header_bytes;
            if (offset < std::uint64_t{chunk.count} * stride)
                return offset % stride == 0
                           ? chunk.first + static_cast<std::uint32_t>(offset / stride)
                           : no_object;
        }
        return no_object;
    }
};
static_assert(shared_layout<mempool_layout> && sizeof(mempool_layout) == 192);

/// Called once for each object of a new pool, with its place among them, before anybody else sees
/// the pool. What it throws ends the creation, which leaves nothing.
using object_constructor = std::function<void(void* object, std::uint32_t index)>;

/// How a pool is made.
struct mempool_options {
    std::uint32_t count = 0;  ///< objects; of a pool that is made empty: the most it may get
    std::uint32_t element_bytes = 0;
    std::uint32_t cache_size = 256;  ///< 0 to 512, and not more than two thirds of count
    recovery_policy policy = recovery_policy::release;
    std::string_view redeliver_to{};  ///< a ring, with recovery_policy::redeliver
    int numa_node = any_numa_node;
    std::uint32_t alignment = cache_line_bytes;  ///< of each object: a power of two, 64 to 4096
    /// Objects begin on different memory channels, which costs a line each for some sizes. (As
    /// rte_mempool without RTE_MEMPOOL_F_NO_SPREAD.)
    bool spread = true;
    std::uint32_t private_area_bytes = 0;  ///< of the pool; see mempool::private_area
    object_constructor construct{};     ///< not of a pool that is made empty: see populate_options
    std::string_view backing = "ring";  ///< or "stack": see pool_store.hpp
};

/// How a pool gets more objects.
struct populate_options {
    std::uint32_t count = 0;  ///< 0 = all that it lacks
    int numa_node = any_numa_node;
    object_constructor construct{};  ///< called with each, before anybody else sees it
};

}  // namespace cohort
