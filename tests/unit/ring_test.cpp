#include "cohort/ring/ring.hpp"

#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"
#include "unit/single_sides.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;
using cohort::test::single;

namespace {

std::vector<int> numbers(int count, int first = 0)
{
    std::vector<int> all(static_cast<std::size_t>(count));
    std::iota(all.begin(), all.end(), first);
    return all;
}

}  // namespace

TEST_CASE("a burst moves as many as fit and a bulk all or none", "[ring]")
{
    scratch_domain domain;
    const auto options = GENERATE(ring_options{}, single);
    auto ring = domain->create_ring<int>("r", 10, options);

    CHECK(ring.enqueue_burst(numbers(7)) == 7);
    CHECK(ring.enqueue_bulk(numbers(4)) == 0);
    CHECK(ring.enqueue_burst(numbers(9, 7)) == 3);
    CHECK(ring.full());

    std::array<int, 16> out{};
    CHECK(ring.dequeue_bulk(out) == 0);
    CHECK(ring.dequeue_burst(out) == 10);
    CHECK(std::vector(out.begin(), out.begin() + 10) == numbers(10));
    CHECK(ring.empty());
}

TEST_CASE("capacity is exact, from 1 to sizes that are no power of two", "[ring]")
{
    scratch_domain domain;
    const auto capacity = GENERATE(1u, 2u, 3u, 7u, 64u, 100u, 1000u);
    auto ring = domain->create_ring<std::uint64_t>("r", capacity);

    std::uint32_t accepted = 0;
    while (ring.enqueue(accepted))
        ++accepted;

    CHECK(accepted == capacity);
    CHECK(ring.free_count() == 0);
}

TEST_CASE("order is kept across the wrap of the slots and of the positions", "[ring]")
{
    scratch_domain domain;
    const auto options = GENERATE(ring_options{}, single);
    const auto start = GENERATE(0u, 1020u, 0xffff'ffffu - 3u, 0x7fff'fffeu);
    auto ring = domain->create_ring<int>("r", 12, options);
    rewind(ring.layout(), start);

    int sent = 0;
    int expected = 0;
    for (int round = 0; round != 200; ++round) {
        sent += static_cast<int>(ring.enqueue_burst(numbers(1 + round % 9, sent)));
        std::array<int, 5> out{};
        const auto got =
            ring.dequeue_burst(std::span{out}.first(1 + static_cast<std::size_t>(round) % 5));
        for (std::size_t i = 0; i != got; ++i)
            REQUIRE(out[i] == expected++);
        REQUIRE(find_fault(ring.layout()) == nullptr);
        REQUIRE(ring.count() == static_cast<std::size_t>(sent - expected));
    }
}

TEST_CASE("looking at an empty or full ring writes nothing", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>("r", 4);
    int out = 0;
    const auto before = ring.layout().consumer.word.load();

    CHECK_FALSE(ring.dequeue(out));

    CHECK(ring.layout().consumer.word.load() == before);
    REQUIRE(ring.enqueue_bulk(numbers(4)) == 4);
    const auto full = ring.layout().producer.word.load();
    CHECK_FALSE(ring.enqueue(5));
    CHECK(ring.layout().producer.word.load() == full);
}

TEST_CASE("a second producer of a single-producer ring is refused, not allowed to corrupt",
          "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>("r", 8, single);
    REQUIRE(ring.enqueue(1));

    bool accepted = true;
    std::thread{[&] { accepted = ring.enqueue(2); }}.join();

    CHECK_FALSE(accepted);
    CHECK(ring.layout().producer.refused == 1);
    CHECK(ring.count() == 1);
}

TEST_CASE("a role passes on when its thread leaves or dies", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>("r", 8, single);

    SECTION("by leaving")
    {
        std::thread{[&] { CHECK(ring.enqueue(1)); }}.join();
    }
    SECTION("by dying")
    {
        test::run_and_lose([&] { CHECK(ring.enqueue(1)); });
    }

    CHECK(ring.enqueue(2));
    CHECK(ring.count() == 2);
}

TEST_CASE("a claim of a dead lane is taken over and has moved nothing", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>("r", 8);
    REQUIRE(ring.enqueue_bulk(numbers(3)) == 3);
    auto& layout = ring.layout();
    const bool producer_dies = GENERATE(true, false);

    test::run_and_lose([&] {
        auto& side = producer_dies ? layout.producer : layout.consumer;
        const auto seen = side.load();
        side.word = seen.next(seen.position, domain->members().lane()).pack();
    });

    CHECK(ring.enqueue(3));
    std::array<int, 8> out{};
    CHECK(ring.dequeue_burst(out) == 4);
    CHECK(std::vector(out.begin(), out.begin() + 4) == numbers(4));
}

TEST_CASE("behind a live claimant a call gives up at the stall limit and counts it", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>("r", 8, {.stall_limit_us = 2000});
    auto& side = ring.layout().producer;
    const auto seen = side.load();
    side.word = seen.next(seen.position, domain->members().lane()).pack();

    bool accepted = true;
    std::thread{[&] { accepted = ring.enqueue(1); }}.join();

    CHECK_FALSE(accepted);
    CHECK(side.stalls == 1);
    scrub(ring.layout(), domain->members().lane(), domain->members().lane());
    CHECK(ring.enqueue(1));
}

TEST_CASE("a side that changes hands all the time, as no ring does, holds nobody for ever",
          "[ring]")
{
    scratch_domain domain;
    // Longer than the scribbler loses its processor to others: then its side would look stalled.
    auto ring = domain->create_ring<int>("r", 8, {.stall_limit_us = 500'000});
    auto& side = ring.layout().producer;
    const auto seen = side.load();
    const auto me = domain->members().lane();
    side.word = seen.next(seen.position, me).pack();  // before it runs, too
    std::atomic<bool> stop{false};
    std::thread scribbler{[&] {
        for (auto word = side.load(); !stop; word = word.next(word.position, me))
            side.word.store(word.next(word.position, me).pack());
    }};

    bool accepted = true;
    std::thread{[&] { accepted = ring.enqueue(1); }}.join();
    stop = true;
    scribbler.join();

    CHECK_FALSE(accepted);
    CHECK(side.stalls == 1);
    scrub(ring.layout(), me, me);
    CHECK(ring.enqueue(1));
}

TEST_CASE("elements of any trivially copyable type keep their bytes", "[ring]")
{
    struct reading {
        std::array<char, 11> name;
        std::uint8_t kind;
        std::uint64_t value;
    };
    scratch_domain domain;
    auto ring = domain->create_ring<reading>("r", 5);

    for (std::uint64_t i = 0; i != 23; ++i) {
        REQUIRE(ring.enqueue({{'a', 'b'}, static_cast<std::uint8_t>(i), i * i}));
        reading out{};
        REQUIRE(ring.dequeue(out));
        CHECK(out.kind == i);
        CHECK(out.value == i * i);
    }
}

// These two have no other meeting point than the ring, so the thread sanitizer sees its ordering.
TEST_CASE("a value of several words arrives whole at another thread, in every slot", "[ring]")
{
    using wide = std::array<std::uint64_t, 5>;
    constexpr std::uint64_t all = 20'000;
    scratch_domain domain;
    auto ring = domain->create_ring<wide>("r", 7);

    std::thread producer{[&] {
        for (std::uint64_t sent = 0; sent != all;) {
            std::array<wide, 3> some{};
            for (std::size_t i = 0; i != some.size(); ++i)
                some[i].fill(sent + i);
            sent += ring.enqueue_burst(std::span{some}.first(std::min(some.size(), all - sent)));
        }
    }};
    std::uint64_t torn = 0;
    for (std::uint64_t received = 0; received != all;) {
        std::array<wide, 4> some{};
        for (const auto& value : std::span{some}.first(ring.dequeue_burst(some))) {
            wide expected;
            expected.fill(received++);
            torn += value == expected ? 0 : 1;
        }
    }
    producer.join();
    CHECK(torn == 0);
}

TEST_CASE("what a pointer points to has been written when another thread gets it", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<std::uint64_t*>("r", 24);
    std::vector<std::uint64_t> things(20'000);

    std::thread producer{[&] {
        for (std::size_t sent = 0; sent != things.size();) {
            std::array<std::uint64_t*, 11> some{};
            const auto count = std::min(some.size(), things.size() - sent);
            for (std::size_t i = 0; i != count; ++i) {
                some[i] = &things[sent + i];
                *some[i] = sent + i + 1;
            }
            while (!ring.enqueue_bulk(std::span{some}.first(count)))
                std::this_thread::yield();
            sent += count;
        }
    }};
    std::uint64_t wrong = 0;
    for (std::uint64_t received = 0; received != things.size();) {
        std::array<std::uint64_t*, 9> some{};
        for (const auto* thing : std::span{some}.first(ring.dequeue_burst(some)))
            wrong += *thing == ++received ? 0 : 1;
    }
    producer.join();
    CHECK(wrong == 0);
}

TEST_CASE("rings are found by name, once, with the right element size", "[ring][domain]")
{
    scratch_domain domain;
    domain->create_ring<int>("numbers", 8);

    CHECK(domain->find_ring<int>("numbers").has_value());
    CHECK_FALSE(domain->find_ring<int>("other").has_value());
    CHECK_THROWS_AS(domain->find_ring<double>("numbers"), error);
    CHECK_THROWS_WITH(domain->create_ring<int>("numbers", 8), Catch::Contains("exists already"));
    CHECK_THROWS_WITH(domain->create_ring<int>(std::string(29, 'x'), 8),
                      Catch::Contains("29 characters"));
    CHECK_THROWS_AS(domain->create_ring<int>("none", 0), error);
    CHECK(domain->destroy_ring("numbers"));
    CHECK_FALSE(domain->destroy_ring("numbers"));
    CHECK_FALSE(domain->find_ring<int>("numbers").has_value());
}
