#pragma once

// How often a repeated test repeats. Everyday runs use reduced counts; COHORT_TEST_SCALE=full
// (tests/run.sh --suite soak) uses the full ones. Builds with ASan or TSan are slower and repeat a
// quarter of that.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace cohort::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool slow_sanitizer = true;
#elif defined(__has_feature)
inline constexpr bool slow_sanitizer =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool slow_sanitizer = false;
#endif

/// Also with the one for undefined behaviour alone, which compilers do not tell.
#ifdef COHORT_SANITIZED
inline constexpr bool any_sanitizer = true;
#else
inline constexpr bool any_sanitizer = false;
#endif

[[nodiscard]] inline bool full_scale()
{
    const char* text = std::getenv("COHORT_TEST_SCALE");
    return text != nullptr && std::string_view{text} == "full";
}

/// `reduced` or `full`, a quarter of it in slow sanitizer builds, at least 1.
[[nodiscard]] inline std::uint64_t scaled(std::uint64_t reduced, std::uint64_t full)
{
    const std::uint64_t count = full_scale() ? full : reduced;
    return std::max<std::uint64_t>(1, slow_sanitizer ? count / 4 : count);
}

}  // namespace cohort::test
