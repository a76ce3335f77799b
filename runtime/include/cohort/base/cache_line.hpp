#pragma once
/// The cache line, and the one instruction a spinning thread owes its neighbour.

#include <cstddef>

namespace cohort {

/// Fixed, because it is part of every shared layout: two compilers must never disagree on it.
inline constexpr std::size_t cache_line_bytes = 64;

inline void cpu_relax() noexcept
{
    __builtin_ia32_pause();
}

}  // namespace cohort
