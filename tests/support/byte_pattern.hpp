#pragma once

#include <cstddef>
#include <vector>

namespace cohort::test {

/// Bytes of which no two neighbours are alike, and no two stretches of 251.
[[nodiscard]] inline std::vector<std::byte> byte_pattern(std::size_t length)
{
    std::vector<std::byte> bytes(length);
    for (std::size_t i = 0; i != length; ++i)
        bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    return bytes;
}

}  // namespace cohort::test
