// The calls of rte_ring around the moving of elements.

#include "cohort/base/error.hpp"
#include "cohort/ring/ring.hpp"
#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"
#include "unit/single_sides.hpp"

#include <array>
#include <set>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;
using cohort::test::single;

namespace {

constexpr std::array<std::uint64_t, 5> five{1, 2, 3, 4, 5};

template <typename Call>
errc code_of(Call&& call)
{
    try {
        call();
    } catch (const error& failure) {
        return failure.reason();
    }
    return errc{};
}

}  // namespace

TEST_CASE("each call tells on request how much room or how many elements it leaves", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<std::uint64_t>("r", 8);
    std::array<std::uint64_t, 3> out{};
    std::size_t left = 99;

    CHECK(ring.enqueue_bulk(five, left) == 5);
    CHECK(left == 3);
    CHECK(ring.enqueue_bulk(five, left) == 0);
    CHECK(left == 3);
    CHECK(ring.enqueue_burst(five, left) == 3);
    CHECK(left == 0);
    CHECK(ring.dequeue_burst(out, left) == 3);
    CHECK(left == 5);
    CHECK(ring.dequeue_bulk(out, left) == 3);
    CHECK(left == 2);
    CHECK(ring.dequeue_bulk(out, left) == 0);
    CHECK(left == 2);
}

TEST_CASE("reset empties a ring of values or pointers and leaves it in use", "[ring]")
{
    scratch_domain domain;
    const auto options = GENERATE(ring_options{}, single);
    auto values = domain->create_ring<std::uint64_t>("values", 8, options);
    auto pointers = domain->create_ring<void*>("pointers", 8, options);
    int target = 0;
    std::array<void*, 5> handles{};
    handles.fill(&target);

    for (int lap = 0; lap != 7; ++lap) {
        REQUIRE(values.enqueue_bulk(five) == 5);
        REQUIRE(pointers.enqueue_bulk(handles) == 5);
        CHECK(values.reset() == 5);
        CHECK(pointers.reset() == 5);
        CHECK(values.empty());
        CHECK(pointers.empty());
        REQUIRE(find_fault(values.layout()) == nullptr);
        REQUIRE(find_fault(pointers.layout()) == nullptr);
    }
    CHECK(values.reset() == 0);
    REQUIRE(values.enqueue(7));
    std::uint64_t value = 0;
    CHECK((values.dequeue(value) && value == 7));
}

TEST_CASE("reset is the single consumer's alone, and drops no buffer", "[ring]")
{
    scratch_domain domain;
    auto values = domain->create_ring<std::uint64_t>("values", 8, single);
    REQUIRE(values.enqueue_bulk(five) == 5);
    std::uint64_t value = 0;
    REQUIRE(values.dequeue(value));  // takes the role
    std::size_t dropped = 99;
    std::thread{[&] { dropped = values.reset(); }}.join();
    CHECK(dropped == 0);
    CHECK(values.count() == 4);

    auto pool = domain->create_pktmbuf_pool("p", {.count = 16, .cache_size = 0});
    auto packets = domain->create_ring<mbuf*>("packets", 8);
    REQUIRE(packets.enqueue(pool.alloc()));
    CHECK(packets.reset() == 0);
    CHECK(packets.count() == 1);
}

TEST_CASE("a ring that cannot be made says why, with the code of rte_ring's errno",
          "[ring][domain]")
{
    scratch_domain domain;
    domain->create_ring<int>("taken", 8);

    CHECK(code_of([&] { domain->create_ring<int>("none", 0); }) == errc::invalid_argument);
    CHECK(code_of([&] { domain->create_ring<int>("many", max_ring_capacity + 1); }) ==
          errc::invalid_argument);
    CHECK(code_of([&] { domain->create_ring<int>("mark", 8, {.watermark = 9}); }) ==
          errc::invalid_argument);
    CHECK(code_of([&] { domain->create_ring<int>(std::string(29, 'x'), 8); }) ==
          errc::name_too_long);
    CHECK(code_of([&] { domain->create_ring<int>("taken", 8); }) == errc::exists);
    CHECK(code_of([&] {
              domain->create_ring<std::array<char, 4096>>("huge", max_ring_capacity);
          }) == errc::no_memory);
    CHECK_FALSE(domain->find_ring<std::array<char, 4096>>("huge").has_value());
    CHECK_NOTHROW(domain->create_ring<int>(std::string(28, 'x'), 8));
}

TEST_CASE("any member can list and dump all rings", "[ring][domain]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<std::uint64_t>("numbers", 100, {.watermark = 90});
    domain->create_ring<mbuf*>("packets", 8, single);
    REQUIRE(ring.enqueue_bulk(five) == 5);

    std::set<std::string> names;
    std::string text;
    domain->for_each_ring([&](std::string_view name, const ring_layout& each) {
        names.emplace(name);
        if (name == "numbers")
            text = dump(each, name);
    });

    CHECK(names.contains("numbers"));
    CHECK(names.contains("packets"));
    CHECK_THAT(text, Catch::Contains("5 of 100 elements of 8 bytes, 95 free, published by index"));
    CHECK_THAT(text, Catch::Contains("producers: multi, at 5, free, 0 stalls"));
    CHECK_THAT(text, Catch::Contains("watermark 90"));
    CHECK_THAT(text, !Catch::Contains("fault"));
}
