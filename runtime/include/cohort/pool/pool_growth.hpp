#pragma once
/// How a pool gets objects while members use it: steps of `domain::populate`.
///
///   1  the pool's `growing` lock: one grower at a time, and nobody destroys the pool meanwhile
///   2  memory: an entry of kind pool_chunk in INIT, or what the user brings
///   3  objects are made there; each carries the custody word of the grower
///   4  the chunk is listed: one store of chunk_count (LISTED). From here on the objects count, and
///      are in the hands of the grower
///   5  the entry goes LIVE
///   6  the objects go into the pool's ring, which has had room for all from the beginning
///
/// *When a process dies here*: before 4 nothing has changed, and the reaper empties the entry; what
/// the user brought is the user's. From 4 on the pool has grown: the reaper makes the entry LIVE,
/// for the pool lists it, and puts what carries the dead grower's word into the pool as any buffer
/// that it held. The lock is taken over; a chunk that was not listed is written over.
///
/// A pool is destroyed with its lock held: first its entry goes DYING, then the entries of its
/// chunks go, then its own. So who finishes for the dead sees from the DYING pool what has to go.

#include "cohort/memory/memory.hpp"
#include "cohort/pool/mempool_layout.hpp"

#include <cstdint>
#include <span>

namespace cohort {

/// Bytes that hold `count` objects, wherever they begin.
[[nodiscard]] std::uint64_t chunk_bytes(const mempool_layout& pool, std::uint32_t count) noexcept;

/// As many objects as fit into that memory and the pool still lacks; perhaps none.
[[nodiscard]] pool_chunk_layout plan_chunk(const mempool_layout& pool, std::uint64_t address,
                                           std::uint64_t bytes) noexcept;

/// Object `i` of a chunk that need not be listed yet.
[[nodiscard]] void* handle_in(const mempool_layout& pool, const pool_chunk_layout& chunk,
                              std::uint32_t i) noexcept;

/// REQUIRES: the growing lock, and room: chunk.first is count().
void list_chunk(mempool_layout& pool, const pool_chunk_layout& chunk) noexcept;

/// Puts the objects of a listed chunk, all in this member's custody, into the pool's ring. What a
/// claimant that is stopped keeps out stays with this member until it ends, counted as stranded.
void put_chunk(mempool_layout& pool, const pool_chunk_layout& chunk, lane_id lane) noexcept;

/// Whether the pool of that entry, which is of kind pool_chunk, lists it.
[[nodiscard]] bool is_listed(const memory_layout& memory, const memzone_layout& zone) noexcept;

/// Releases the entries of a pool's chunks. REQUIRES: the pool's entry is DYING, and the recovery
/// lock is held.
void release_chunks(memory& segments, const memzone_layout& pool, actor who) noexcept;

/// Finishes what a dead member has listed, and releases the chunks of pools that it was destroying.
/// For its reaper, before the entries of the dead are emptied.
void settle_chunks(memory& segments, member_id dead, actor who) noexcept;

/// The first pool with objects in that entry's memory, brought by its user; nullptr when none has.
[[nodiscard]] const memzone_layout* pool_in(const memory& segments,
                                            const memzone_layout& zone) noexcept;

/// nullptr when the invariants of the chunks hold, else the one that does not, in words.
[[nodiscard]] const char* find_chunk_fault(const mempool_layout& pool) noexcept;

}  // namespace cohort
