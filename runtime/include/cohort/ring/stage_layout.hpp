#pragma once
/// The stages of a ring as they lie in the region, behind its slots (ring_layout.hpp):
///
///   for each stage, 128 bytes    head: a side, as of a ring
///                                tail, redelivered, abandoned, bell
///   for each slot, 8 bytes       word of the batch that starts there
///
/// Positions are the ring's. Stage 0 is supplied by the producers' commits, each other stage by the
/// tail of the one before, the consumers by the tail of the last:
///
///   consumer <= tail of the last <= its head <= tail of the one before <= ... <= producer
///
/// Invariant: from a stage's tail to its head, batches lie one behind the other without a gap; the
/// word of each, at its first position, names this stage and this lap. An element is in one stage
/// at a time, so one word for each slot serves all stages.
///
///   head   {p, 0} -> {p, me} -> {p+n, 0}     acquires, as a ring's side; before the second step
///                                            the word at p becomes {n, me}. Taken over from the
///                                            dead; nothing is to be repaired, what lies at the
///                                            head and beyond says nothing.
///   batch  {n, me} -> {n, done}              its holder, by CAS
///          {n, me} -> {n, nobody}            its holder, who gives it back, by CAS
///          {n, dead} -> {n, nobody}          anyone, by CAS
///          {n, nobody} -> {k, me, attempts + 1}, k <= n
///                                            the claimant of the head, by CAS. If k < n, the word
///                                            at p+k becomes {n-k, nobody} before: until the CAS it
///                                            lies inside the batch and says nothing.
///   tail   {p} -> {p+n} over a done batch    anyone, by CAS
///
/// Only what names nobody is given out, and so divided: the tail cannot pass it, and nobody but the
/// claimant moves it. A word that names a dead lane may be an old one. Its batch may have been done
/// before the death, and then the word at p+k may be a batch of the next stage.
///
/// The edges, beside FILLED and FREED of the ring:
///   HELD    a batch's word is released before the head's commit; who acquires the head finds the
///           words of all that lies before it, and who finds the word of a later stage finds the
///           tail of this one past it.
///   DONE    a batch's word is released after its elements have been worked on; who moves the tail
///           acquires it.
///   PASSED  the tail is released after DONE was acquired; the next stage, or the consumer,
///           acquires it before it reads the elements.

#include "cohort/base/bits.hpp"
#include "cohort/ring/ring_layout.hpp"

#include <bit>

namespace cohort {

inline constexpr std::uint32_t max_stages = 32;
inline constexpr std::uint32_t max_stage_batch = 0xffff;  ///< elements of one grant

/// A batch's word, taken apart. The lap (24 bits of it) and the stage tell it from what has been at
/// that slot before; the attempts tell one hold of it from the next.
struct batch_word {
    static constexpr std::uint8_t nobody = 0;   ///< it has lost its holder
    static constexpr std::uint8_t done = 0x80;  ///< no lane has that number

    std::uint32_t lap = 0;
    std::uint16_t count = 0;
    std::uint8_t attempts = 0;  ///< holders that it has lost; after 255 it stays above 0
    std::uint8_t stage = 0;     ///< + 1, so that zeroed memory names none
    std::uint8_t holder = nobody;

    [[nodiscard]] static constexpr batch_word unpack(std::uint64_t word) noexcept
    {
        return {static_cast<std::uint32_t>(word >> 40), static_cast<std::uint16_t>(word >> 24),
                static_cast<std::uint8_t>(word >> 16), static_cast<std::uint8_t>(word >> 8),
                static_cast<std::uint8_t>(word)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        return std::uint64_t{lap} << 40 | std::uint64_t{count} << 24 |
               std::uint64_t{attempts} << 16 | std::uint64_t{stage} << 8 | holder;
    }
    [[nodiscard]] constexpr bool is_done() const noexcept { return holder == done; }
    [[nodiscard]] constexpr batch_word of(std::uint8_t whom) const noexcept
    {
        return {lap, count, attempts, stage, whom};
    }
};

struct alignas(cache_line_bytes) stage_layout {
    ring_side head;
    alignas(cache_line_bytes) std::atomic<std::uint64_t> tail{0};  ///< its low half is a position
    std::atomic<std::uint64_t> redelivered{0};                     ///< batches, a count
    std::atomic<std::uint32_t> abandoned{0};  ///< not 0: there may be batches that nobody holds
    futex_bell bell;  ///< of those behind, who sleep until the tail moves: see bell_before
};
static_assert(shared_layout<stage_layout> && sizeof(stage_layout) == 128);

/// What lies in a stage: elements, a snapshot.
struct stage_counts {
    std::uint32_t waiting = 0;    ///< to be acquired for the first time
    std::uint32_t held = 0;       ///< by a lane
    std::uint32_t abandoned = 0;  ///< to be acquired again
    std::uint32_t done = 0;       ///< released, behind something that is not
};

/// The oldest batch of a stage that is not done: what all behind it wait for.
struct stage_holder {
    lane_id lane = 0;  ///< 0 = nobody: it waits to be acquired again
    std::uint32_t position = 0;
    std::uint32_t count = 0;  ///< 0 = the stage holds nothing
    std::uint32_t attempts = 0;
};

/// Bytes of stages and batch words, beside ring_bytes.
[[nodiscard]] std::size_t stage_bytes(std::uint32_t capacity, std::uint32_t stages) noexcept;

[[nodiscard]] inline stage_layout& stage_of(const ring_layout& ring, std::uint32_t stage) noexcept
{
    const auto slots = (std::size_t{ring.mask} + 1) * ring.element_bytes;
    auto* first = const_cast<std::byte*>(ring.slots()) + align_up(slots, cache_line_bytes);
    return reinterpret_cast<stage_layout*>(first)[stage];
}

[[nodiscard]] inline std::atomic<std::uint64_t>& batch_at(const ring_layout& ring,
                                                          std::uint32_t position) noexcept
{
    auto* words = reinterpret_cast<std::atomic<std::uint64_t>*>(&stage_of(ring, ring.stages));
    return words[position & ring.mask];
}

[[nodiscard]] inline batch_word new_batch(const ring_layout& ring, std::uint32_t stage,
                                          std::uint32_t position, std::uint32_t count,
                                          std::uint8_t holder) noexcept
{
    const auto lap = position >> std::bit_width(ring.mask) & 0xff'ffff;
    return {lap, static_cast<std::uint16_t>(count), 0, static_cast<std::uint8_t>(stage + 1),
            holder};
}

/// Whether the word, read at that position, is of a batch that starts there in that stage.
[[nodiscard]] inline bool is_batch(const ring_layout& ring, std::uint32_t stage,
                                   std::uint32_t position, batch_word word) noexcept
{
    const auto wanted = new_batch(ring, stage, position, 0, 0);
    return word.lap == wanted.lap && word.stage == wanted.stage && word.count != 0;
}

/// Calls `visit(position, batch_word)` for the batches from tail to head as they were at one moment
/// or later, oldest first; `visit` may return false to end the walk. Others may be at work: what
/// has passed meanwhile is left out. Returns where it ended: at the head, or where an invariant
/// does not hold.
template <typename Visit>
std::uint32_t for_each_batch(const ring_layout& ring, std::uint32_t number, Visit&& visit)
{
    const auto& stage = stage_of(ring, number);
    const auto head = stage.head.load().position;  // HELD
    auto tail = static_cast<std::uint32_t>(stage.tail.load(std::memory_order_acquire));
    auto position = tail;
    while (static_cast<std::int32_t>(head - position) > 0) {
        const auto word =
            batch_word::unpack(batch_at(ring, position).load(std::memory_order_acquire));  // DONE
        const auto passed = static_cast<std::uint32_t>(stage.tail.load(std::memory_order_acquire));
        if (static_cast<std::int32_t>(passed - position) > 0)
            position = passed;  // it has been overwritten, perhaps
        else if (!is_batch(ring, number, position, word))
            return position;
        else if (visit(position, word))
            position += word.count;
        else
            return position;
    }
    return position;
}

/// The bell of those who wait for something to do in a stage (number `stages`: for something to
/// dequeue). It is rung when elements pass what lies before, and when a batch of the stage is given
/// back or lost.
[[nodiscard]] inline futex_bell& bell_before(ring_layout& ring, std::uint32_t number) noexcept
{
    return number == 0 ? ring.producer.bell : stage_of(ring, number - 1).bell;
}

/// Moves the tail over what is done; returns the tail. Anybody may, at any time.
std::uint32_t advance_tail(const ring_layout& ring, std::uint32_t stage) noexcept;

[[nodiscard]] stage_counts count_stage(const ring_layout& ring, std::uint32_t stage) noexcept;
[[nodiscard]] stage_holder oldest_of(const ring_layout& ring, std::uint32_t stage) noexcept;
[[nodiscard]] std::string stage_text(const ring_layout& ring, std::uint32_t stage);
[[nodiscard]] const char* find_stage_fault(const ring_layout& ring) noexcept;

/// What `lane`, dead or the caller's own, claims or holds in a stage is free again. Idempotent.
void scrub_stage(ring_layout& ring, std::uint32_t stage, lane_id lane, lane_id me) noexcept;

}  // namespace cohort
