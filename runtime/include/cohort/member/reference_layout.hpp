#pragma once
/// Counts that can be repaired: how many refer to a buffer, when any of them may be killed.
///
/// An atomic add cannot be told from one that did not happen once its process is dead. So a count
/// word also says who changed it last, and a lane says what it is about to change:
///
///   63        25  24    18  17       2  1       0
///   sequence:39   lane:7    clones:16   handle  1
///
///   clones  buffers that are attached to this one
///   handle  1 = somebody has the buffer itself, 0 = only clones keep it
///   lane, sequence   the last attach or detach
///
/// One change, by lane L, of a word W because buffer B is attached or detached:
///
///   1  L's record: &W, &B.share and what that will be; then `pending` = {sequence, 1}   the intent
///   2  if W names another lane K: note K's sequence in L's row at K                     SEEN
///   3  W = {clones +- 1, L, sequence}    a plain store when nobody else has a reference, else CAS
///   4  B.share = what was announced
///   5  pending = {sequence, 0}
///
/// Killed in between, L's change was carried out exactly if W names {L, sequence}, or some row has
/// noted it: whoever overwrites W writes its note first, and x86-64 shows stores in order. Then
/// step 4 is done for L, else nothing is. No scan, no waiting, and no atomic that a plain count
/// would not need. `settle` does this for a dead lane, before the lane is buried and before any
/// buffer is taken from the dead. Doing it again writes the same.
///
/// Limit: a word that is not changed while one lane makes 2^38 other changes is older than its
/// number can say.
///
/// *Thread safety*: a lane's record and row are written by its thread only.
/// *When a process dies here*: as above.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/sync/owner_lock.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cohort {

inline constexpr std::size_t max_lanes = 128;  ///< lane 0 is never used

/// A count word, unpacked.
struct reference_word {
    static constexpr std::uint64_t own = 1;
    static constexpr std::uint64_t handle = 2;
    static constexpr std::uint64_t one_clone = 4;
    static constexpr std::uint64_t most_clones = 0xffff;
    static constexpr unsigned lane_shift = 18;
    static constexpr unsigned sequence_shift = 25;
    static constexpr std::uint64_t counts_mask = (std::uint64_t{1} << lane_shift) - 1;
    /// Of a buffer that nobody is attached to and that has not been since it was allocated.
    static constexpr std::uint64_t pristine = own | handle;

    std::uint64_t bits = pristine;

    [[nodiscard]] constexpr bool has_handle() const noexcept { return (bits & handle) != 0; }
    [[nodiscard]] constexpr std::uint32_t clones() const noexcept
    {
        return static_cast<std::uint32_t>(bits >> 2 & most_clones);
    }
    [[nodiscard]] constexpr lane_id lane() const noexcept
    {
        return static_cast<lane_id>(bits >> lane_shift & 0x7f);
    }
    [[nodiscard]] constexpr std::uint64_t sequence() const noexcept
    {
        return bits >> sequence_shift;
    }
    /// Who has this word's one reference has it alone: no atomic is needed to change it.
    [[nodiscard]] constexpr bool is_exclusive() const noexcept
    {
        return clones() + (has_handle() ? 1U : 0U) == 1;
    }
    [[nodiscard]] constexpr reference_word changed(std::uint64_t by, lane_id who,
                                                   std::uint64_t number) const noexcept
    {
        return {((bits & counts_mask) + by) | std::uint64_t{who} << lane_shift |
                number << sequence_shift};
    }
};
static_assert(max_lanes <= 0x80);

/// What one lane is about to change, and what it has seen of others.
struct alignas(cache_line_bytes) lane_references {
    static constexpr std::uint64_t sequence_mask = (std::uint64_t{1} << 39) - 1;

    std::atomic<std::uint64_t> pending{0};  ///< sequence << 1 | 1 while a change is under way
    std::atomic<std::uint64_t> counted{0};  ///< address of the count word
    std::atomic<std::uint64_t> target{0};   ///< address of the word that follows it,
    std::atomic<std::uint64_t> value{0};    ///< and what it will be
    alignas(cache_line_bytes) std::atomic<std::uint64_t> seen[max_lanes]{};  ///< newest sequences

    /// Announces a change; returns its sequence.
    [[nodiscard]] std::uint64_t begin(const std::uint64_t& word, const std::uint64_t& share,
                                      std::uint64_t becomes) noexcept
    {
        const auto last = pending.load(std::memory_order_relaxed) >> 1;  // ours alone
        const auto sequence = (last + 1) & sequence_mask;
        counted.store(reinterpret_cast<std::uint64_t>(&word), std::memory_order_release);
        target.store(reinterpret_cast<std::uint64_t>(&share), std::memory_order_release);
        value.store(becomes, std::memory_order_release);
        pending.store(sequence << 1 | 1, std::memory_order_release);
        return sequence;
    }
    void end(std::uint64_t sequence) noexcept
    {
        pending.store(sequence << 1, std::memory_order_release);  // after what it announced
    }
    /// SEEN: to be called before a word that holds `word` is overwritten.
    void note(reference_word word, lane_id me) noexcept
    {
        const auto other = word.lane();
        if (other == 0 || other == me)
            return;
        auto& newest = seen[other];
        const auto ahead = word.sequence() - newest.load(std::memory_order_relaxed);  // ours alone
        constexpr auto half = std::uint64_t{1} << 38;
        if ((ahead & sequence_mask) != 0 && (ahead & sequence_mask) < half)
            newest.store(word.sequence(), std::memory_order_release);  // before the word changes
    }
};
static_assert(shared_layout<lane_references> && sizeof(lane_references) == 1088);

/// Finishes what the dead `lane` was changing, or forgets it. For the holder of the recovery lock.
/// False when nothing was under way. Idempotent.
bool settle(lane_references (&all)[max_lanes], lane_id lane) noexcept;

}  // namespace cohort
