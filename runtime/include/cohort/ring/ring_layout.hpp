#pragma once
/// A ring as it lies in the region.
///
///   bytes  0..63    identity, written once before the ring is published
///          64..127  producer side     word = { generation:16 | position:32 | lane:16 }
///          128..191 consumer side     peer_seen, pending, stalls, refused, bell, dropped
///          192..    slots, a power of two of them, element_bytes each
///
/// Invariant: 0 <= producer.position - consumer.position <= capacity (mod 2^32), and the slots
/// between hold the elements in order. Positions count slots since creation.
///
/// A side moves through its word alone:
///
///   multi   {p, 0, g} -> {p, me, g+1}       claim, by CAS; any lane
///           {p, me, g+1} -> {p+n, 0, g+2}   commit, one store
///   single  {p, 0, g} -> {p, me, g+1}       takes the role, by CAS
///           {p, me, g} -> {p+n, me, g}      commit, one store; the role is kept
///   both    {p, dead, g} -> {p, me, g+1}    take-over, by CAS, then repair; ends with a commit
///
/// How elements are published is fixed when a ring is made:
///
///   by_index  with the producer's commit, all n at once. For elements of any size.
///   by_slot   with each slot. The top bit of a pointer is free on x86-64; in a filled slot it is
///             what the parity of the lap says, so a slot tells by itself whether it is filled, and
///             a consumer reads no other line. The lines of a batch but the first are filled first:
///             who waits for the next element sees the whole batch at once, and does not take lines
///             from under the producer's hands. A dead producer leaves a prefix of its batch, and
///             perhaps slots behind a gap; `pending` says how far those can reach, and whoever
///             takes the side over empties them. Between a producer's first store and its commit,
///             the consumer may be ahead of the producer's position.
///
/// The two edges:
///   FILLED  a producer's commit, or a slot's top bit, is released after what it publishes has been
///           written; consumers acquire it before they read that.
///   FREED   a consumer's commit is released after the slots are read (and, for buffers, their
///           custody words written); producers acquire it before they reuse them.
/// `peer_seen` is an old position of the other side, kept by the claimant of this one so that it
/// rarely reads the other's line. It passes from claimant to claimant over this side's own word.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/sync/futex_bell.hpp"
#include "cohort/sync/owner_lock.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace cohort {

enum class ring_mode : std::uint8_t {
    multi = 0,   ///< any lane, one at a time
    single = 1,  ///< the first lane to use the side keeps it until it leaves or dies
};

/// "These elements are not buffers": nothing is stamped on dequeue.
inline constexpr std::int32_t no_custody = std::numeric_limits<std::int32_t>::min();

enum class publication : std::uint8_t {
    by_index = 0,
    by_slot = 1,
    by_height = 2,  ///< a stack: see stack.hpp
    in_stages = 3,  ///< by index, and through stages: see stage_layout.hpp
};

/// What `offer` does with elements for which a ring has no room; see ring_offer.hpp.
enum class full_policy : std::uint8_t {
    refuse = 0,    ///< they stay the caller's
    drop_new = 1,  ///< they are dropped
    block = 2,     ///< the call waits for room, and drops what finds none in time
};

/// A side's word, taken apart. In this order of fields a claim and a commit are plain additions:
/// what a position carries over goes into the generation, which may jump.
struct ring_word {
    std::uint32_t position = 0;
    lane_id lane = 0;
    std::uint16_t generation = 0;

    static constexpr std::uint64_t one_position = std::uint64_t{1} << 16;
    static constexpr std::uint64_t one_generation = std::uint64_t{1} << 48;

    [[nodiscard]] static constexpr ring_word unpack(std::uint64_t word) noexcept
    {
        return {static_cast<std::uint32_t>(word >> 16), static_cast<lane_id>(word),
                static_cast<std::uint16_t>(word >> 48)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        return std::uint64_t{generation} << 48 | std::uint64_t{position} << 16 | lane;
    }
    [[nodiscard]] constexpr ring_word next(std::uint32_t at, lane_id holder) const noexcept
    {
        return {at, holder, static_cast<std::uint16_t>(generation + 1)};
    }
};

struct alignas(cache_line_bytes) ring_side {
    std::atomic<std::uint64_t> word{0};
    std::atomic<std::uint32_t> peer_seen{0};
    std::atomic<std::uint32_t> pending{
        0};  ///< by_slot: how far the last batch of several lines may reach
    std::atomic<std::uint32_t> stalls{0};   ///< calls that gave up behind a live claimant
    std::atomic<std::uint32_t> refused{0};  ///< calls by a lane that does not have the single role
    futex_bell bell;  ///< of those who sleep until this side moves; see bell_before
    std::atomic<std::uint64_t> dropped{0};  ///< elements that `offer` did not put in

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
    publication published{};
    std::uint8_t mark_shift = 0;  ///< by_slot: moves the lap's lowest bit of a position to bit 63
    full_policy when_full{};
    std::uint8_t parts = 0;       ///< of the first ring of a lane ring: how many belong to it
    std::uint32_t watermark = 0;  ///< elements
    std::uint32_t full_patience_us = 0;  ///< of full_policy::block
    std::uint32_t stages = 0;            ///< 0 = its consumers take what its producers commit

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
        return count_from(consumer.load().position);
    }
    /// Elements committed at or after a position that the consumers had reached.
    [[nodiscard]] std::uint32_t count_from(std::uint32_t position) const noexcept
    {
        const auto held = static_cast<std::int32_t>(producer.load().position - position);
        return held < 0 ? 0 : std::min(static_cast<std::uint32_t>(held), capacity);
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
    full_policy when_full = full_policy::refuse;
    std::uint32_t full_patience_us = 10'000;  ///< how long full_policy::block waits for room
    std::uint32_t watermark = 0;              ///< elements; 0 = as many as fit
    std::uint8_t lane_ring_parts = 0;         ///< for create_lane_ring alone
    std::uint8_t stages = 0;                  ///< for create_staged_ring alone
};

/// Slots of a ring of that capacity: at least a line of them when published by slot.
[[nodiscard]] std::size_t ring_slots(std::uint32_t capacity, publication how) noexcept;

/// Bytes of a ring of that capacity, header included.
[[nodiscard]] std::size_t ring_bytes(std::uint32_t capacity, std::uint32_t element_bytes,
                                     publication how) noexcept;

/// Makes a ring in zeroed memory of `ring_bytes`. By slot, elements must be pointers.
ring_layout& construct_ring(void* at, std::uint32_t capacity, std::uint32_t element_bytes,
                            publication how, std::int32_t custody_offset, std::uint16_t index,
                            const ring_options& options) noexcept;

/// Empties the ring and moves both sides to `position`. Only while nobody uses it.
void rewind(ring_layout& ring, std::uint32_t position) noexcept;

/// nullptr when the invariants hold, else the one that does not, in words. May be asked while
/// others work.
[[nodiscard]] const char* find_fault(const ring_layout& ring) noexcept;

/// Whether the words that never change make a ring that lies within `bytes`. Whoever goes through
/// the rings of a domain asks first: a member may have written over its own.
[[nodiscard]] bool has_sound_header(const ring_layout& ring, std::size_t bytes) noexcept;

/// One text for people: identity, both sides, and counters; a snapshot.
[[nodiscard]] std::string dump(const ring_layout& ring, std::string_view name);

/// Frees what `lane`, which is dead or the caller's own, claims of a side or of both. `me` does the
/// repair: the caller's lane. Idempotent. The second also wakes all who sleep at the ring: whom
/// they wait for may be gone.
void scrub(ring_layout& ring, ring_side& side, lane_id lane, lane_id me) noexcept;
void scrub(ring_layout& ring, lane_id lane, lane_id me) noexcept;

/// The first word of the element at a position, for the reaper and the audit, which look while
/// others work.
[[nodiscard]] std::uint64_t peek_word(const ring_layout& ring, std::uint32_t position) noexcept;

/// Whether the slot of a position publishes its element: false in a ring by index.
[[nodiscard]] bool is_published(const ring_layout& ring, std::uint32_t position) noexcept;

}  // namespace cohort
