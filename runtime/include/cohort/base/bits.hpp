#pragma once
/// Small integer helpers used when memory is laid out.

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace cohort {

inline namespace literals {
constexpr std::size_t operator""_KiB(unsigned long long n)
{
    return n << 10;
}
constexpr std::size_t operator""_MiB(unsigned long long n)
{
    return n << 20;
}
constexpr std::size_t operator""_GiB(unsigned long long n)
{
    return n << 30;
}
}  // namespace literals

/// Rounds up to a multiple of `alignment`, a power of two.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T align_up(T value, std::type_identity_t<T> alignment) noexcept
{
    return (value + alignment - 1) & ~(alignment - 1);
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr T align_down(T value, std::type_identity_t<T> alignment) noexcept
{
    return value & ~(alignment - 1);
}

/// FNV-1a, 64 bit: for name tables and the layout hash, never for untrusted keys.
[[nodiscard]] constexpr std::uint64_t fnv1a(const char* bytes, std::size_t count,
                                            std::uint64_t hash = 0xcbf29ce484222325u) noexcept
{
    for (std::size_t i = 0; i != count; ++i)
        hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 0x100000001b3u;
    return hash;
}

}  // namespace cohort
