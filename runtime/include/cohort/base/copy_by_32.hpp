#pragma once
/// The part of copy_bytes for more than 64 bytes, by vectors of 32. Inlined where the caller is
/// compiled for AVX2, and called through a pointer by all others.

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

namespace cohort::detail {

#define COHORT_AVX2 __attribute__((target("avx2"), always_inline)) inline

COHORT_AVX2 __m256i load(const std::byte* from) noexcept
{
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

COHORT_AVX2 void store(std::byte* to, __m256i word) noexcept
{
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), word);
}

COHORT_AVX2 void copy_64(std::byte* to, const std::byte* from) noexcept
{
    const auto a = load(from);
    const auto b = load(from + 32);
    store(to, a);
    store(to + 32, b);
}

COHORT_AVX2 void copy_128(std::byte* to, const std::byte* from) noexcept
{
    const auto c = load(from + 64);
    const auto d = load(from + 96);
    copy_64(to, from);
    store(to + 64, c);
    store(to + 96, d);
}

/// As few stores as possible: the last one may overlap the one before, so that nothing is copied
/// byte by byte.
COHORT_AVX2 void copy_by_32(std::byte* to, const std::byte* from, std::size_t n) noexcept
{
    const auto* const end = from + n;
    auto* const to_end = to + n;
    if (n > 256) {
        store(to, load(from));
        const auto skip = 32 - (reinterpret_cast<std::uintptr_t>(to) & 31);  // to aligned stores
        to += skip;
        from += skip;
        n -= skip;
    }
    for (; n >= 128; n -= 128, to += 128, from += 128)
        copy_128(to, from);
    if (n == 0)
        return;
    if (n > 64) {
        copy_64(to, from);
        to += 64;
        from += 64;
        n -= 64;
    }
    if (n > 32)
        store(to, load(from));
    store(to_end - 32, load(end - 32));
}

#undef COHORT_AVX2

}  // namespace cohort::detail
