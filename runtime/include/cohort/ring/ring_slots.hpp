#pragma once
/// Slots that tell by themselves whether they are filled: the copies of a ring of pointers.
///
/// Bit 63 of a slot is its mark. In lap 0, 2, 4 ... a filled slot has it set, in the others clear;
/// so a slot of the lap before, or a zeroed one in lap 0, reads as not filled yet. The other 63
/// bits are the pointer (user addresses on x86-64 end below bit 47, or 56).
///
/// A line at a time with SSE2, which every x86-64 has. Each 8 bytes of such an access are
/// read or written whole, and the stores of a thread are seen in their order (Intel SDM volume 3,
/// 9.2 and AMD APM volume 2, 7.2), so plain program order is all that FILLED and FREED need; the
/// fences here are for the compiler.

#include "cohort/base/cache_line.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>

#include <emmintrin.h>

namespace cohort::detail {

/// The caller's pointers, read and written as words.
using pointer_word = std::uint64_t __attribute__((may_alias));

inline constexpr std::uint64_t slot_mark = std::uint64_t{1} << 63;
inline constexpr std::uint32_t slots_per_line = cache_line_bytes / sizeof(std::uint64_t);

/// The thread sanitizer does not know what program order gives here.
#ifdef __SANITIZE_THREAD__
inline constexpr bool whole_lines = false;
#else
inline constexpr bool whole_lines = true;
#endif

[[nodiscard]] inline std::uint64_t load_slot(const std::uint64_t* slot) noexcept
{
    return __atomic_load_n(slot, __ATOMIC_ACQUIRE);  // FILLED
}
inline void store_slot(std::uint64_t* slot, std::uint64_t word) noexcept
{
    __atomic_store_n(slot, word, __ATOMIC_RELEASE);  // FILLED
}

// g++ 12 warns of whole lines where a caller's array is shorter than one.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Warray-bounds"
/// Two slots at a time.
struct slot_pair {
    static __m128i load(const void* at) noexcept
    {
        return _mm_loadu_si128(static_cast<const __m128i*>(at));
    }
    static void store(void* at, __m128i pair) noexcept
    {
        _mm_storeu_si128(static_cast<__m128i*>(at), pair);
    }
};
#pragma GCC diagnostic pop

/// Fills slots in order. `mark` is 0 or slot_mark. Whatever an item has in that place is lost:
/// otherwise a wrong pointer would be a slot that never fills.
inline void put_slots(std::uint64_t* slots, const pointer_word* items, std::uint32_t count,
                      std::uint64_t mark) noexcept
{
    const auto marks = _mm_set1_epi64x(static_cast<long long>(mark));
    const auto place = _mm_set1_epi64x(static_cast<long long>(slot_mark));
    for (; whole_lines && count >= slots_per_line; count -= slots_per_line) {
        for (std::uint32_t i = 0; i != slots_per_line; i += 2)
            slot_pair::store(
                slots + i,
                _mm_or_si128(_mm_andnot_si128(place, slot_pair::load(items + i)), marks));
        slots += slots_per_line;
        items += slots_per_line;
    }
    for (std::uint32_t i = 0; i != count; ++i)
        store_slot(slots + i, (items[i] & ~slot_mark) | mark);
}

/// Copies up to `count` elements, as many as are filled from the first on; returns how many. What
/// `items` holds behind them is not specified.
[[nodiscard]] inline std::uint32_t take_slots(pointer_word* items, const std::uint64_t* slots,
                                              std::uint32_t count, std::uint64_t mark) noexcept
{
    const auto marks = _mm_set1_epi64x(static_cast<long long>(mark));
    std::uint32_t done = 0;
    for (; whole_lines && count - done >= slots_per_line; done += slots_per_line) {
        auto any_empty = _mm_setzero_si128();
        for (std::uint32_t i = 0; i != slots_per_line; i += 2) {
            const auto pair = _mm_xor_si128(slot_pair::load(slots + done + i), marks);
            slot_pair::store(items + done + i, pair);
            any_empty = _mm_or_si128(any_empty, pair);
        }
        if (_mm_movemask_pd(_mm_castsi128_pd(any_empty)) != 0) [[unlikely]]
            break;
    }
    for (; done != count; ++done) {
        const auto item = load_slot(slots + done) ^ mark;
        if ((item & slot_mark) != 0)
            break;
        items[done] = item;
    }
    return done;
}

/// The slots of one ring.
struct slot_array {
    std::uint64_t* slots;
    std::uint32_t mask;
    std::uint8_t mark_shift;

    [[nodiscard]] std::uint64_t mark_at(std::uint32_t position) const noexcept
    {
        return ~std::uint64_t{position} << mark_shift & slot_mark;
    }
    [[nodiscard]] std::uint64_t* at(std::uint32_t position) const noexcept
    {
        return slots + (position & mask);
    }
    [[nodiscard]] bool is_filled(std::uint32_t position) const noexcept
    {
        return ((load_slot(at(position)) ^ mark_at(position)) & slot_mark) == 0;
    }

    /// Slots from here to the end of the line; a line never lies across the wrap.
    [[nodiscard]] static std::uint32_t left_in_line(std::uint32_t position) noexcept
    {
        return slots_per_line - position % slots_per_line;
    }
    void put_in_line(std::uint32_t position, const pointer_word* items,
                     std::uint32_t count) const noexcept
    {
        put_slots(at(position), items, count, mark_at(position));
    }
    [[nodiscard]] std::uint32_t take_in_line(std::uint32_t position, pointer_word* items,
                                             std::uint32_t count) const noexcept
    {
        return take_slots(items, at(position), count, mark_at(position));
    }

    /// Fills in order, over the wrap.
    void put(std::uint32_t position, const pointer_word* items, std::uint32_t count) const noexcept
    {
        const auto before_wrap = std::min(count, mask + 1 - (position & mask));
        put_slots(at(position), items, before_wrap, mark_at(position));
        if (before_wrap != count) [[unlikely]]
            put_slots(slots, items + before_wrap, count - before_wrap,
                      mark_at(position + before_wrap));
    }

    /// As take_slots, over the wrap.
    [[nodiscard]] std::uint32_t take(std::uint32_t position, pointer_word* items,
                                     std::uint32_t count) const noexcept
    {
        // A batch comes in lines that another processor has written: fetch them side by side.
        for (auto i = slots_per_line; i < std::min(count, mask); i += slots_per_line)
            __builtin_prefetch(at(position + i));
        const auto before_wrap = std::min(count, mask + 1 - (position & mask));
        auto taken = take_slots(items, at(position), before_wrap, mark_at(position));
        if (taken == before_wrap && before_wrap != count) [[unlikely]]
            taken += take_slots(items + before_wrap, slots, count - before_wrap,
                                mark_at(position + before_wrap));
        return taken;
    }
};

}  // namespace cohort::detail
