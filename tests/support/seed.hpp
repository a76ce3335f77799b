#pragma once

// Randomness that can be repeated. catch_main prints the seed; COHORT_TEST_SEED=N runs the same
// again, helper programs included, because catch_main exports the seed it chose.

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string_view>

namespace cohort::test {

/// The seed of this run: COHORT_TEST_SEED, else chosen once for this process.
[[nodiscard]] inline std::uint32_t seed()
{
    static const std::uint32_t value = [] {
        const char* text = std::getenv("COHORT_TEST_SEED");
        if (text != nullptr && *text != '\0')
            return static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10));
        return static_cast<std::uint32_t>(std::random_device{}());
    }();
    return value;
}

/// A generator for one use, named so that two uses of one seed differ. The order in which tests run
/// does not change it.
[[nodiscard]] inline std::mt19937_64 random_engine(std::string_view use)
{
    std::uint64_t mixed = 0xcbf29ce484222325U ^ seed();  // FNV-1a
    for (const char letter : use)
        mixed = (mixed ^ static_cast<unsigned char>(letter)) * 0x100000001b3U;
    return std::mt19937_64{mixed};
}

}  // namespace cohort::test
