#pragma once
/// The last things that happened to each buffer of a pool, if the pool was made with
/// `pktmbuf_options::history`: a side table, so that an mbuf needs no room for it.
///
///   mbuf_history_layout 64 | for each buffer: number of events so far 8 | events, depth × 16
///
/// Without the option each operation costs one branch on a word of the pool that it reads anyway.
///
/// *Thread safety*: any lane of any member; two that note at once about one buffer take two places.
/// *When a process dies here*: the event of the call it died in may be missing or empty.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/pool/mempool_layout.hpp"

#include <atomic>
#include <cstdint>
#include <vector>

namespace cohort {

struct mbuf;

enum class mbuf_event : std::uint16_t {
    none = 0,
    alloc = 1,
    free = 2,    ///< given back to its pool
    attach = 3,  ///< became a clone
    detach = 4,
    let_go = 5,  ///< freed by its holder while clones kept it
    user = 64,   ///< from here on users' own
};

struct history_event {
    std::uint64_t ticks = 0;   ///< time stamp counter
    std::uint32_t holder = 0;  ///< member
    std::uint16_t lane = 0;
    mbuf_event what{};
};
static_assert(sizeof(history_event) == 16);

inline constexpr std::uint32_t max_history = 64;

struct alignas(cache_line_bytes) mbuf_history_layout {
    std::uint32_t depth = 0;   ///< events kept of each buffer, a power of two
    std::uint32_t stride = 0;  ///< bytes of each buffer
};
static_assert(shared_layout<mbuf_history_layout> && sizeof(mbuf_history_layout) == 64);

/// Bytes of the table; 0 for depth 0.
[[nodiscard]] std::size_t history_bytes(std::uint32_t count, std::uint32_t depth) noexcept;
void construct_history(mempool_layout& pool, void* at, std::uint32_t depth) noexcept;

namespace detail {
void remember(mbuf& buffer, mbuf_event what) noexcept;
}

/// Notes an event about a buffer of that pool, if the pool keeps any.
inline void note(const mempool_layout& pool, mbuf& buffer, mbuf_event what) noexcept
{
    if (pool.history != 0) [[unlikely]]
        detail::remember(buffer, what);
}
/// A user's own event: `mark(packet, 7)`.
void mark(mbuf& buffer, std::uint16_t number) noexcept;

/// What is known of a buffer, oldest first. Others may be writing: a snapshot.
[[nodiscard]] std::vector<history_event> history_of(const mbuf& buffer);
/// "alloc", "free" ...; "user" for all that are.
[[nodiscard]] const char* name_of(mbuf_event what) noexcept;

}  // namespace cohort
