#pragma once
/// A ring as it lies in the region.
///
///   bytes  0..63    identity, written once before the ring is published
///          64..127  producer side     word = { position:32 | lane:16 | generation:16 }
///          128..191 consumer side     peer_seen, stalls, refused
///          192..    slots, capacity rounded up to a power of two, element_bytes each
///
/// Invariant: 0 <= producer.position - consumer.position <= capacity (mod 2^32), and the slots
/// between hold the elements in order. Positions count slots since creation.
///
/// A side moves through its word alone:
///
///   multi   {p, 0, g} -> {p, me, g+1}       claim, by CAS; any lane
///           {p, me, g+1} -> {p+n, 0, g+2}   commit, one store; publishes (producer) or frees
///                                           (consumer) all n elements at once
///   single  {p, 0, g} -> {p, me, g+1}       takes the role, by CAS
///           {p, me, g} -> {p+n, me, g+1}    commit, one store; the role is kept
///   both    {p, dead, g} -> {p, 0, g+1}     take-over: a claim of a dead lane has moved nothing
///
/// The two edges, both carried by the side words:
///   FILLED  a producer's commit is released after the slots are written; consumers acquire it
///           before they read them.
///   FREED   a consumer's commit is released after the slots are read (and, for buffers, their
///           custody words written); producers acquire it before they reuse them.
/// `peer_seen` is an old position of the other side, kept by the claimant of this one so that it
/// rarely reads the other's line. It passes from claimant to claimant over this side's own word.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/sync/owner_lock.hpp"

#include <atomic>
#include <cstdint>
#include <limits>
#include <string_view>

namespace cohort {

enum class ring_mode : std::uint8_t {
    multi = 0,   ///< any lane, one at a time
    single = 1,  ///< the first lane to use the side keeps it until it leaves or dies
};

/// "These elements are not buffers": nothing is stamped on dequeue.
inline constexpr std::int32_t no_custody = std::numeric_limits<std::int32_t>::min();

struct ring_word {
    std::uint32_t position = 0;
    lane_id lane = 0;
    std::uint16_t generation = 0;

    [[nodiscard]] static constexpr ring_word unpack(std::uint64_t word) noexcept
    {
        return {static_cast<std::uint32_t>(word >> 32), static_cast<lane_id>(word >> 16),
                static_cast<std::uint16_t>(word)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        return std::uint64_t{position} << 32 | std::uint64_t{lane} << 16 | generation;
    }
    [[nodiscard]] constexpr ring_word next(std::uint32_t at, lane_id holder) const noexcept
    {
        return {at, holder, static_cast<std::uint16_t>(generation + 1)};
    }
};

struct alignas(cache_line_bytes) ring_side {
    std::atomic<std::uint64_t> word{0};
    std::atomic<std::uint32_t> peer_seen{0};
    std::atomic<std::uint32_t> stalls{0};   ///< calls that gave up behind a live claimant
    std::atomic<std::uint32_t> refused{0};  ///< calls by a lane that does not have the single role

    [[nodiscard]] ring_word load() const noexcept
    {
        return ring_word::unpack(word.load(std::memory_order_acquire));  // FILLED or FREED
    }
};

struct alignas(cache_line_bytes) ring_layout {
    static constexpr std::uint32_t magic_value = 0x52484f43;  // "COHR"

    std::uint32_t magic = 0;
    std::uint32_t capacity = 0;  ///< elements it can hold, 1 to 2^30
    std::uint32_t mask = 0;      ///< slots - 1
    std::uint32_t element_bytes = 0;
    std::int32_t custody_offset = no_custody;  ///< from a handle to its custody word
    std::uint16_t index = 0;  ///< of its entry in the zone table; 0x3fff inside a pool
    ring_mode producer_mode{};
    ring_mode consumer_mode{};
    std::uint32_t stall_limit_us = 0;

    ring_side producer;
    ring_side consumer;

    [[nodiscard]] std::byte* slots() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    [[nodiscard]] const std::byte* slots() const noexcept
    {
        return reinterpret_cast<const std::byte*>(this + 1);
    }

    /// Elements inside: a snapshot, exact when nobody is at work.
    [[nodiscard]] std::uint32_t count() const noexcept
    {
        // The consumer first: it can only have moved on, so the difference is never negative.
        const auto from = consumer.load().position;
        const auto held = producer.load().position - from;
        return held < capacity ? held : capacity;
    }
};
static_assert(shared_layout<ring_layout> && sizeof(ring_layout) == 192);

inline constexpr std::uint32_t max_ring_capacity = std::uint32_t{1} << 30;
inline constexpr std::uint16_t no_ring_index = 0x3fff;

/// How a ring is made.
struct ring_options {
    ring_mode producers = ring_mode::multi;
    ring_mode consumers = ring_mode::multi;
    std::uint32_t stall_limit_us = 50'000;  ///< how long a call waits behind a live claimant
};

/// Bytes of a ring of that capacity, header included.
[[nodiscard]] std::size_t ring_bytes(std::uint32_t capacity, std::uint32_t element_bytes) noexcept;

/// Makes a ring in zeroed memory of `ring_bytes`.
ring_layout& construct_ring(void* at, std::uint32_t capacity, std::uint32_t element_bytes,
                            std::int32_t custody_offset, std::uint16_t index,
                            const ring_options& options) noexcept;

/// nullptr when the invariants hold, else the one that does not, in words.
[[nodiscard]] const char* find_fault(const ring_layout& ring) noexcept;

void scrub(ring_side& side, lane_id lane) noexcept;
/// Frees what the lane claims of the ring. For the reaper of a dead lane, or the lane itself when
/// it leaves. Idempotent.
void scrub(ring_layout& ring, lane_id lane) noexcept;

/// The element at a position, for the reaper and the audit, which look while others work.
[[nodiscard]] std::uint64_t peek_word(const ring_layout& ring, std::uint32_t position) noexcept;

}  // namespace cohort
