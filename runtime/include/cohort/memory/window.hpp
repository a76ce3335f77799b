#pragma once
/// The window: the address range that is the same in every member of a domain.
///
///   0x5500'0000'0000                                                    0x5555'5555'4000
///   | slot 0, 64 GiB | slot 1 | slot 2 | slot 3 | slot 4 |   (unused)   | first PIE image ...
///
///   one window:  | control region, 1 GiB reserved | segment memory, list after list ... |
///
/// The area lies below every position-independent image and outside the shadows of the address and
/// thread sanitizers. A domain takes the first slot that no live domain beside it uses.

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

[[nodiscard]] constexpr std::uintptr_t window_slot_base(std::size_t slot) noexcept
{
    return window_area_begin + slot * window_slot_bytes;
}

static_assert(window_slots == 5);

}  // namespace cohort
