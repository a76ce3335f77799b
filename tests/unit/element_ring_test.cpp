#include "cohort/ring/element_ring.hpp"

#include "cohort/base/error.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"

#include <array>
#include <cstring>
#include <deque>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

namespace {

/// Element number `n`: its bytes tell which it is, each of them.
std::vector<std::byte> element(std::uint32_t n, std::size_t bytes)
{
    std::vector<std::byte> made(bytes);
    for (std::size_t i = 0; i != bytes; ++i)
        made[i] = static_cast<std::byte>(n * 31 + i);
    return made;
}

}  // namespace

TEST_CASE("elements of any multiple of 4 bytes keep order and bytes, over both wraps",
          "[ring][element]")
{
    scratch_domain domain;
    const auto bytes = GENERATE(4u, 12u, 16u, 100u, 65536u);
    const auto start = GENERATE(0u, 0xffff'fffau);
    constexpr std::uint32_t capacity = 10;
    auto ring = domain->create_element_ring("r", bytes, capacity);
    rewind(ring.layout(), start);
    auto random = test::random_engine("elements");
    std::deque<std::uint32_t> model;

    std::uint32_t next = 0;
    for (int step = 0; step != 100; ++step) {
        const std::size_t count = 1 + random() % (capacity + 2);
        const bool bulk = random() % 2 == 0;
        std::vector<std::byte> items;
        for (std::size_t i = 0; i != count; ++i) {
            const auto one = element(next + static_cast<std::uint32_t>(i), bytes);
            items.insert(items.end(), one.begin(), one.end());
        }
        const auto room = capacity - model.size();
        const auto fits = bulk ? (count <= room ? count : 0) : std::min(count, room);
        REQUIRE((bulk ? ring.enqueue_bulk(items) : ring.enqueue_burst(items)) == fits);
        for (std::size_t i = 0; i != fits; ++i)
            model.push_back(next++);

        std::vector<std::byte> out(bytes * (1 + random() % capacity) + 3);  // 3 are left over
        const auto got = ring.dequeue_burst(out);
        REQUIRE(got == std::min(out.size() / bytes, model.size()));
        for (std::size_t i = 0; i != got; ++i, model.pop_front())
            REQUIRE(std::memcmp(out.data() + i * bytes, element(model.front(), bytes).data(),
                                bytes) == 0);
        REQUIRE(ring.count() == model.size());
        REQUIRE(find_fault(ring.layout()) == nullptr);
    }
}

TEST_CASE("a ring of values is found as one of its element size, a ring of pointers is not",
          "[ring][element]")
{
    scratch_domain domain;
    struct reading {
        std::uint32_t id, value, unit;
    };
    auto typed = domain->create_ring<reading>("readings", 8);
    domain->create_ring<void*>("pointers", 8);
    auto found = domain->find_element_ring("readings");
    REQUIRE(found.has_value());
    CHECK(found->element_bytes() == 12);

    REQUIRE(typed.enqueue({1, 2, 3}));
    std::array<std::byte, 12> out{};
    REQUIRE(found->dequeue_bulk(out) == 1);
    std::uint32_t value = 0;
    std::memcpy(&value, out.data() + 4, 4);
    CHECK(value == 2);
    CHECK(found->reset() == 0);
    CHECK_FALSE(domain->find_element_ring("nothing").has_value());
    CHECK_THROWS_WITH(domain->find_element_ring("pointers"),
                      Catch::Contains("is a ring of pointers"));
    CHECK_THROWS_WITH(domain->create_element_ring("odd", 6, 8), Catch::Contains("multiple of 4"));
    CHECK_THROWS_AS(domain->create_element_ring("none", 0, 8), error);
    CHECK_THROWS_AS(domain->create_element_ring("large", 65540, 8), error);
}
