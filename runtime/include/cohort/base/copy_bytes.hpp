#pragma once
/// Bytes of packets from here to there.
///
/// A packet's length is known at run time only and mostly small, so up to 64 bytes are copied
/// without a call. For more, the C library's memcpy is not enough: it uses `rep movsb`, which is
/// twenty times slower than vectors for some pairs of addresses (docs/copy.md has the figures).
/// Vectors of 32 bytes are used where the processor has them.
///
/// *Thread safety*: as memcpy. The ranges must not overlap.
/// *When a process dies here*: any part of the bytes has been copied.

#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef __AVX2__
#include "cohort/base/copy_by_32.hpp"
#endif

namespace cohort {
namespace detail {

using vector_16 = std::uint8_t __attribute__((vector_size(16)));
struct two_vectors {
    vector_16 first, second;
};

template <typename Word>
[[nodiscard]] inline Word load_as(const std::byte* from) noexcept
{
    Word word;
    std::memcpy(&word, from, sizeof word);
    return word;
}

/// The first and the last Word of the range, which meet or overlap: n in [sizeof(Word), 2 of it].
template <typename Word>
inline void copy_ends(std::byte* to, const std::byte* from, std::size_t n) noexcept
{
    const auto first = load_as<Word>(from);
    const auto last = load_as<Word>(from + n - sizeof(Word));
    std::memcpy(to, &first, sizeof first);
    std::memcpy(to + n - sizeof last, &last, sizeof last);
}

using copy_function = void(std::byte* to, const std::byte* from, std::size_t n) noexcept;
/// More than 64 bytes, in the way that suits this processor.
extern copy_function* copy_many;

}  // namespace detail

[[gnu::always_inline]] inline void copy_bytes(void* target, const void* source,
                                              std::size_t n) noexcept
{
    auto* to = static_cast<std::byte*>(target);
    const auto* from = static_cast<const std::byte*>(source);
    if (n > 64) {
#ifdef __AVX2__
        detail::copy_by_32(to, from, n);
#else
        detail::copy_many(to, from, n);
#endif
        return;
    }
    if (n > 32) {
        using detail::vector_16;
        const auto last = detail::load_as<vector_16>(from + n - 16);
        const auto first = detail::load_as<detail::two_vectors>(from);
        if (n > 48) {
            const auto third = detail::load_as<vector_16>(from + 32);
            std::memcpy(to + 32, &third, 16);
        }
        std::memcpy(to, &first, 32);
        std::memcpy(to + n - 16, &last, 16);
    } else if (n >= 16) {
        detail::copy_ends<detail::vector_16>(to, from, n);
    } else if (n >= 8) {
        detail::copy_ends<std::uint64_t>(to, from, n);
    } else if (n >= 4) {
        detail::copy_ends<std::uint32_t>(to, from, n);
    } else if (n != 0) {
        const auto middle = from[n / 2];
        detail::copy_ends<std::byte>(to, from, n);
        to[n / 2] = middle;
    }
}

}  // namespace cohort
