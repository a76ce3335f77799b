#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace cohort::test {

/// By memcmp, in which a sanitizer does not look at each byte by itself.
[[nodiscard]] inline bool is_zero(std::span<const std::byte> bytes)
{
    return bytes.empty() || (bytes[0] == std::byte{} &&
                             std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace cohort::test
