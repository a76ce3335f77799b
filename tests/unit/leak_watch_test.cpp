#include "cohort/recovery/leak_watch.hpp"

#include "support/scratch_domain.hpp"

#include <array>
#include <thread>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

namespace {

constexpr std::uint64_t second = 1'000'000'000;

leak_watch watch_of(scratch_domain& domain, std::string_view pool)
{
    return {audited(domain->region()), *domain->segments().find(zone_kind::mempool, pool)};
}

}  // namespace

TEST_CASE("what stays in the same hands in every look is told with its age", "[leaks]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    std::array<mbuf*, 3> leaked{};
    REQUIRE(pool.alloc_bulk(leaked));
    auto watch = watch_of(domain, "p");
    watch.look(100 * second);
    auto* later = pool.alloc();
    watch.look(103 * second);
    watch.look(105 * second);

    CHECK(watch.looks() == 3);
    const auto old = watch.held_longer_than(5 * second);
    REQUIRE(old.size() == 1);
    CHECK(old[0].member == domain->self().id);
    CHECK(old[0].generation == domain->self().generation);
    CHECK(old[0].buffers == 3);
    CHECK(old[0].oldest_ns == 5 * second);
    REQUIRE(watch.held_longer_than(2 * second).size() == 1);
    CHECK(watch.held_longer_than(2 * second)[0].buffers == 4);
    CHECK(watch.held_longer_than(6 * second).empty());
    free(later);
}

TEST_CASE("what rests, travels or is handed over between looks is not held for long", "[leaks]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto ring = domain->create_ring<mbuf*>("r", 16);
    auto* freed = pool.alloc();
    auto* queued = pool.alloc();
    auto* received = pool.alloc();
    auto watch = watch_of(domain, "p");
    watch.look(1 * second);

    free(freed);  // into the cache
    REQUIRE(ring.enqueue(received));
    REQUIRE(ring.dequeue(received));  // another word
    REQUIRE(ring.enqueue(queued));
    watch.look(9 * second);

    CHECK(watch.held_longer_than(1).empty());
    REQUIRE(watch.held_longer_than(0).size() == 1);
    CHECK(watch.held_longer_than(0)[0].buffers == 1);
}

TEST_CASE("a buffer that was in its pool in one look begins anew", "[leaks]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 8, .cache_size = 0});
    auto* packet = pool.alloc();
    auto watch = watch_of(domain, "p");
    watch.look(1 * second);
    free(packet);
    watch.look(2 * second);
    std::array<mbuf*, 8> all{};
    REQUIRE(pool.alloc_bulk(all));
    watch.look(3 * second);
    watch.look(4 * second);

    REQUIRE(watch.held_longer_than(1 * second).size() == 1);
    CHECK(watch.held_longer_than(1 * second)[0].buffers == 8);
    CHECK(watch.held_longer_than(2 * second).empty());
}

TEST_CASE("in a pool with history a buffer's age is that of its last event", "[leaks]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 8, .cache_size = 0, .history = 4});
    auto* packet = pool.alloc();
    auto watch = watch_of(domain, "p");
    watch.look(monotonic_ns());
    free(packet);
    std::array<mbuf*, 8> all{};
    REQUIRE(pool.alloc_bulk(all));  // the same one again, which two looks cannot tell
    const auto taken_ns = monotonic_ns();
    std::this_thread::sleep_for(20ms);
    const auto last_ns = monotonic_ns();
    watch.look(last_ns);

    const auto old = watch.held_longer_than(0);
    REQUIRE(old.size() == 1);
    CHECK(old[0].buffers == 8);
    CHECK(old[0].oldest_ns >= (last_ns - taken_ns) / 2);
}

TEST_CASE("objects that a pool gets between looks are watched from then on", "[leaks]")
{
    scratch_domain domain;
    auto pool =
        domain->create_empty_mempool("p", {.count = 32, .element_bytes = 8, .cache_size = 0});
    domain->populate(pool, {.count = 4});
    std::array<void*, 4> first{};
    REQUIRE(pool.get_bulk(first));
    auto watch = watch_of(domain, "p");
    watch.look(1 * second);
    domain->populate(pool);
    std::array<void*, 28> second_part{};
    REQUIRE(pool.get_bulk(second_part));
    watch.look(2 * second);
    watch.look(3 * second);

    CHECK(watch.held_longer_than(2 * second).at(0).buffers == 4);
    CHECK(watch.held_longer_than(1 * second).at(0).buffers == 32);
}
