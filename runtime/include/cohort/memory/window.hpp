#pragma once
/// The window: the address range that is the same in every member of a domain.
///
///   0x5500'0000'0000                                                    0x5555'5555'4000
///   | slot 0, 64 GiB | slot 1 | slot 2 | slot 3 | slot 4 |   (unused)   | first PIE image ...
///
///   one window:  | control region, 1 GiB reserved | segment memory, list after list ... |
///
/// The area lies below every position-independent image and outside the shadows of the address and
/// thread sanitizers. A domain takes the first slots in a row that no live domain beside it uses.
///
/// A window of more than 320 GiB lies elsewhere, in one of four slots of 8 TiB: a thread sanitizer
/// build cannot have one, since its shadow is there.

#include "cohort/base/bits.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace cohort {

inline constexpr std::uintptr_t window_area_begin = 0x5500'0000'0000;
inline constexpr std::uintptr_t window_area_end = 0x5555'5555'4000;
inline constexpr std::size_t window_slot_bytes = 64_GiB;
inline constexpr std::size_t window_slots =
    (window_area_end - window_area_begin) / window_slot_bytes;
inline constexpr std::size_t control_reserve_bytes = 1_GiB;

inline constexpr std::uintptr_t large_area_begin = 0x2000'0000'0000;
inline constexpr std::size_t large_slot_bytes = 8192_GiB;
inline constexpr std::size_t large_slots = 4;

[[nodiscard]] constexpr std::uintptr_t large_slot_base(std::size_t slot) noexcept
{
    return large_area_begin + slot * large_slot_bytes;
}

[[nodiscard]] constexpr std::uintptr_t window_slot_base(std::size_t slot) noexcept
{
    return window_area_begin + slot * window_slot_bytes;
}

static_assert(window_slots == 5);

/// Whether a window of that length, a multiple of 64 GiB, may begin there.
[[nodiscard]] constexpr bool is_window(std::uintptr_t base, std::size_t bytes) noexcept
{
    if (bytes == 0 || bytes % window_slot_bytes != 0)
        return false;
    if (base >= window_area_begin)
        return (base - window_area_begin) % window_slot_bytes == 0 && base < window_area_end &&
               bytes <= window_slot_base(window_slots) - base;
    return base >= large_area_begin && (base - large_area_begin) % large_slot_bytes == 0 &&
           base < large_slot_base(large_slots) && bytes <= large_slot_bytes;
}

/// Windows that can be in one process at a time, and the number of one of them.
inline constexpr std::size_t window_places = window_slots + large_slots;
[[nodiscard]] constexpr std::size_t window_place(std::uintptr_t base) noexcept
{
    return base >= window_area_begin ? (base - window_area_begin) / window_slot_bytes
                                     : window_slots + (base - large_area_begin) / large_slot_bytes;
}

}  // namespace cohort
