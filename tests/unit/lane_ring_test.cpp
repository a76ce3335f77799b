#include "cohort/domain/lane_rings.hpp"
#include "cohort/recovery/recovery_lock.hpp"
#include "cohort/ring/ring_zero_copy.hpp"
#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

namespace {

/// Which of the rings holds elements: its number, of the one that does.
template <typename T>
std::size_t where(const lane_ring<T>& lanes)
{
    std::size_t found = 999;
    for (std::size_t i = 0; i != lanes.rings().size(); ++i)
        if (!lanes.rings()[i].empty())
            found = i;
    return found;
}

}  // namespace

TEST_CASE("each producing lane gets a ring of its own, and those too many share one",
          "[ring][lane-ring]")
{
    scratch_domain domain;
    auto lanes = create_lane_ring<std::uint64_t>(*domain, "in", 8, {.producers = 2});
    std::uint64_t value = 0;

    REQUIRE(lanes.enqueue(1));
    CHECK(where(lanes) == 1);
    REQUIRE(lanes.dequeue(value));
    std::atomic<bool> done{false};
    std::atomic<bool> second_is_there{false};
    std::thread second{[&] {
        REQUIRE(lanes.enqueue(2));
        second_is_there = true;
        while (!done)
            std::this_thread::yield();
    }};
    while (!second_is_there)
        std::this_thread::yield();
    CHECK(where(lanes) == 2);
    REQUIRE(lanes.dequeue(value));
    std::thread{[&] { REQUIRE(lanes.enqueue(3)); }}.join();
    CHECK(where(lanes) == 0);
    done = true;
    second.join();
    CHECK((lanes.dequeue(value) && value == 3));
    CHECK(lanes.empty());
}

TEST_CASE("a lane that shares keeps its order when a ring of its own falls free",
          "[ring][lane-ring]")
{
    scratch_domain domain;
    auto lanes = create_lane_ring<std::uint64_t>(*domain, "in", 8, {.producers = 1});
    std::thread{[&] {
        REQUIRE(lanes.enqueue(0));
        std::thread other{[&] { std::thread{[&] { REQUIRE(lanes.enqueue(1)); }}.join(); }};
        other.join();
    }}.join();  // the ring of the first lane is free from here on

    REQUIRE(lanes.enqueue(2));
    CHECK(lanes.rings()[0].count() == 2);
    std::array<std::uint64_t, 8> out{};
    CHECK(lanes.dequeue_burst(out) == 3);
    REQUIRE(lanes.enqueue(3));
    CHECK(where(lanes) == 1);
}

TEST_CASE("a producer that is stopped in mid-call keeps neither others nor consumers waiting",
          "[ring][lane-ring]")
{
    scratch_domain domain;
    auto lanes = create_lane_ring<std::uint64_t>(*domain, "in", 8, {.producers = 2});
    REQUIRE(lanes.enqueue(1));
    auto own = lanes.rings()[1];
    REQUIRE(own.layout().producer.load().lane == domain->members().lane());
    const auto half = enqueue_bulk_start(own, 3);  // as if stopped before the finish
    half.first()[0] = 7;

    std::thread{[&] { REQUIRE(lanes.enqueue(2)); }}.join();
    std::array<std::uint64_t, 8> out{};
    CHECK(lanes.dequeue_burst(out) == 2);
    CHECK(out[0] + out[1] == 3);
    for (const auto& each : lanes.rings()) {
        CHECK(each.layout().producer.stalls == 0);
        CHECK(each.layout().consumer.stalls == 0);
    }
}

TEST_CASE("a dead producer's ring is drained and used again, beside that of one who keeps its own",
          "[ring][lane-ring]")
{
    scratch_domain domain;
    auto lanes = create_lane_ring<std::uint64_t>(*domain, "in", 8, {.producers = 2});
    const std::array<std::uint64_t, 3> three{1, 2, 3};
    auto& self = domain->members();
    // Or the dead one's ring may be a reaper's for a moment, and the next lane takes another.
    const recovery_lock_guard alone{domain->region().recovery.lock, self.who(), self, "in"};

    test::run_and_lose([&] { REQUIRE(lanes.enqueue_bulk(three) == 3); });
    CHECK(where(lanes) == 1);

    REQUIRE(lanes.enqueue(4));  // the next lane takes the dead one's ring
    CHECK(lanes.rings()[1].count() == 4);
    std::thread{[&] { REQUIRE(lanes.enqueue(5)); }}.join();  // the first keeps its role
    CHECK(lanes.rings()[2].count() == 1);
    std::array<std::uint64_t, 8> out{};
    CHECK(lanes.dequeue_burst(out) == 5);
    CHECK(std::vector(out.begin(), out.begin() + 5) == std::vector<std::uint64_t>{1, 2, 3, 4, 5});
    for (const auto& each : lanes.rings())
        CHECK(find_fault(each.layout()) == nullptr);
}

TEST_CASE("many producers and consumers pass everything once, in each producer's order",
          "[ring][lane-ring][threads]")
{
    scratch_domain domain;
    constexpr std::uint64_t producers = 4;  // two of them share
    constexpr std::uint64_t each = 5000;
    auto lanes = create_lane_ring<std::uint64_t>(*domain, "in", 32, {.producers = 2});
    std::atomic<std::uint64_t> total{0};
    std::array<std::vector<std::uint64_t>, 2> received;

    std::vector<std::thread> threads;
    for (std::uint64_t p = 0; p != producers; ++p)
        threads.emplace_back([&, p] {
            for (std::uint64_t sent = 0; sent != each;) {
                const std::array<std::uint64_t, 2> two{p << 32 | sent, p << 32 | (sent + 1)};
                if (lanes.enqueue_bulk(two) != 0)
                    sent += 2;
                else
                    std::this_thread::yield();
            }
        });
    for (auto& mine : received)
        threads.emplace_back([&] {
            std::array<std::uint64_t, 16> out{};
            while (total != producers * each) {
                const auto got = lanes.dequeue_burst(out);
                mine.insert(mine.end(), out.begin(),
                            out.begin() + static_cast<std::ptrdiff_t>(got));
                total += got;
                if (got == 0)
                    std::this_thread::yield();
            }
        });
    for (auto& thread : threads)
        thread.join();

    CHECK(lanes.empty());
    for (const auto& mine : received) {
        std::array<std::int64_t, producers> last{-1, -1, -1, -1};
        for (const auto item : mine) {
            auto& before = last.at(item >> 32);
            REQUIRE(static_cast<std::int64_t>(item & 0xffff'ffff) > before);
            before = static_cast<std::int64_t>(item & 0xffff'ffff);
        }
    }
}

TEST_CASE("a lane ring is found whole or not at all, and half a one does not stand in the way",
          "[ring][lane-ring][domain]")
{
    scratch_domain domain;
    constexpr ring_options own{.producers = ring_mode::single};
    domain->create_ring<mbuf*>("in.3", 16, own);  // as left by a creator that died
    CHECK_FALSE(find_lane_ring<mbuf*>(*domain, "in").has_value());

    auto made = create_lane_ring<mbuf*>(*domain, "in", 16, {.producers = 3});
    CHECK(made.rings().size() == 4);
    domain->create_ring<mbuf*>("in.4", 16, own);  // not one of its
    CHECK(find_lane_ring<mbuf*>(*domain, "in").value().rings().size() == 4);
    CHECK_THROWS_WITH(create_lane_ring<mbuf*>(*domain, "in", 16, {.producers = 3}),
                      Catch::Contains("exists already"));
    CHECK(destroy_lane_ring(*domain, "in"));
    CHECK_FALSE(find_lane_ring<mbuf*>(*domain, "in").has_value());
    CHECK_FALSE(destroy_lane_ring(*domain, "in"));

    domain->create_ring<mbuf*>("in.1", 8, own);  // of another shape
    CHECK_THROWS_WITH(create_lane_ring<mbuf*>(*domain, "in", 16),
                      Catch::Contains("exists already"));
    CHECK(destroy_lane_ring(*domain, "in"));
    CHECK_THROWS_AS(create_lane_ring<mbuf*>(*domain, "in", 16, {.producers = 0}), error);
    CHECK_THROWS_AS(create_lane_ring<mbuf*>(*domain, "in", 16, {.producers = 127}), error);
    CHECK_THROWS_AS(create_lane_ring<mbuf*>(*domain, std::string(25, 'x'), 16), error);
}
