#include "cohort/base/copy_bytes.hpp"

#include "support/byte_pattern.hpp"

#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::byte_pattern;

namespace {

constexpr std::size_t longest = 4200;
constexpr std::size_t guard = 64;

/// Whether exactly `n` bytes arrive, from and to places that are `from` and `to` bytes off a line.
bool arrives(std::size_t n, std::size_t from, std::size_t to)
{
    static const auto pattern = byte_pattern(longest + guard);
    alignas(64) static std::byte source[longest + guard];
    alignas(64) static std::byte target[longest + 3 * guard];
    std::copy_n(pattern.begin(), n, source + from);
    std::fill_n(target, n + 3 * guard, std::byte{0xee});

    copy_bytes(target + guard + to, source + from, n);

    const auto untouched = [](const std::byte* at, std::size_t count) {
        return std::all_of(at, at + count, [](std::byte byte) { return byte == std::byte{0xee}; });
    };
    return std::equal(pattern.begin(), pattern.begin() + static_cast<std::ptrdiff_t>(n),
                      target + guard + to) &&
           untouched(target, guard + to) && untouched(target + guard + to + n, guard);
}

}  // namespace

TEST_CASE("copy_bytes copies any length between any places, and writes nothing beside", "[copy]")
{
    std::size_t wrong = 0;
    for (std::size_t n = 0; n <= 600; ++n)
        for (std::size_t to = 0; to != 33; ++to)
            wrong += arrives(n, (to * 7) % 64, to) ? 0 : 1;
    for (std::size_t n = 601; n <= longest; n += 17)
        for (std::size_t to = 0; to < 64; to += 5)
            wrong += arrives(n, (to * 3) % 64, to) ? 0 : 1;
    CHECK(wrong == 0);
}
