#pragma once
// What the processes of one interleaving leave in a memzone for the test to judge.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cohort::test {

inline constexpr std::size_t max_woven = 512;  ///< elements of one interleaving

/// Elements are `producer << 16 | number`, numbered from 1: as pointers they are never null.
[[nodiscard]] constexpr std::uint64_t woven_element(std::uint64_t producer,
                                                    std::uint64_t number) noexcept
{
    return producer << 16 | number;
}

struct weave_record {
    struct taken {
        std::uint64_t count;
        std::array<std::uint64_t, max_woven> elements;
    };
    std::atomic<std::uint64_t> total;  ///< taken by all
    std::array<taken, 4> by;           ///< each consumer writes its own
};

}  // namespace cohort::test
