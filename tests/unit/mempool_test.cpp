#include "cohort/pool/pool_cache.hpp"
#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

TEST_CASE("every object is handed out once, and none when fewer are left than asked for", "[pool]")
{
    scratch_domain domain;
    const auto cache = GENERATE(0u, 1u, 32u);
    auto pool =
        domain->create_mempool("p", {.count = 100, .element_bytes = 40, .cache_size = cache});

    std::set<void*> seen;
    while (void* object = pool.get())
        seen.insert(object);

    CHECK(seen.size() == 100);
    CHECK(pool.available() == 0);
    std::vector<void*> two(2);
    pool.put(*seen.begin());
    CHECK_FALSE(pool.get_bulk(two));
    CHECK(pool.available() == 1);
}

TEST_CASE("the newest objects come back first, in bulk in the order of their put", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 100, .element_bytes = 8, .cache_size = 32});
    std::array<void*, 15> put{};
    REQUIRE(pool.get_bulk(put));
    pool.put_bulk(put);  // which does not fill the cache

    std::array<void*, 1> one{};
    std::array<void*, 3> three{};
    std::array<void*, 9> nine{};
    REQUIRE(pool.get_bulk(one));
    REQUIRE(pool.get_bulk(three));
    REQUIRE(pool.get_bulk(nine));

    CHECK(one[0] == put[14]);
    CHECK(std::ranges::equal(three, std::span{put}.subspan(11, 3)));
    CHECK(std::ranges::equal(nine, std::span{put}.subspan(2, 9)));
}

TEST_CASE("objects go out and come back by any numbers, and the sums always add up", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 512, .element_bytes = 64, .cache_size = 64});
    std::vector<void*> held;

    for (int round = 0; round != 300; ++round) {
        std::vector<void*> some(static_cast<std::size_t>(1 + round % 90));
        if (pool.get_bulk(some))
            held.insert(held.end(), some.begin(), some.end());
        const auto back = std::min<std::size_t>(held.size(), static_cast<std::size_t>(round % 77));
        pool.put_bulk(std::span{held}.last(back));
        held.resize(held.size() - back);
        REQUIRE(pool.in_use() == held.size());
    }

    const auto sums = domain.audit_of("p");
    CHECK(sums.held == held.size());
    CHECK(sums.adds_up());
    CHECK(domain.audit().clean());
}

TEST_CASE("a lane that is left flushes its caches", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 256, .element_bytes = 8, .cache_size = 64});

    std::thread{[&] { pool.put(pool.get()); }}.join();

    CHECK(domain.audit_of("p").in_pool == 256);
}

TEST_CASE("the cache of a thread that died goes to the next thread of its member", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 256, .element_bytes = 8, .cache_size = 64});
    lane_id lost = 0;

    test::run_and_lose([&] {
        pool.put(pool.get());
        lost = domain->members().lane();
    });
    while (domain->members().members().lane(lost).word().state != lane_state::orphan)
        std::this_thread::yield();

    lane_id heir = 0;
    std::thread{[&] { heir = domain->members().lane(); }}.join();
    CHECK(heir == lost);
    CHECK(domain.audit_of("p").in_pool == 256);
    CHECK(domain.audit().clean());
}

TEST_CASE("objects are aligned to lines and keep their distance", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 64, .element_bytes = 65, .cache_size = 0});
    std::set<std::uintptr_t> addresses;
    while (void* object = pool.get())
        addresses.insert(reinterpret_cast<std::uintptr_t>(object));

    REQUIRE(addresses.size() == 64);
    std::uintptr_t last = 0;
    for (const auto address : addresses) {
        CHECK(address % cache_line_bytes == 0);
        CHECK((last == 0 || address - last >= 65 + object_header_bytes));
        last = address;
    }
}

TEST_CASE("a pool with options that cannot be is refused with both numbers", "[pool]")
{
    scratch_domain domain;
    const auto make = [&](const mempool_options& options) {
        return domain->create_mempool("p", options);
    };

    CHECK_THROWS_WITH(make({.count = 0, .element_bytes = 8}), Catch::Contains("0 objects"));
    CHECK_THROWS_WITH(make({.count = 8, .element_bytes = 0}), Catch::Contains("1 byte"));
    CHECK_THROWS_WITH(make({.count = 2000, .element_bytes = 8, .cache_size = 513}),
                      Catch::Contains("513"));
    CHECK_THROWS_WITH(make({.count = 100, .element_bytes = 8, .cache_size = 80}),
                      Catch::Contains("80"));
    CHECK_THROWS_AS(make({.count = 8,
                          .element_bytes = 8,
                          .cache_size = 0,
                          .policy = recovery_policy::redeliver}),
                    error);
    CHECK_FALSE(domain->find_mempool("p").has_value());
}

TEST_CASE("objects are aligned as asked for, and constructed once each before the pool is seen",
          "[pool]")
{
    scratch_domain domain;
    std::map<void*, std::uint32_t> made;
    auto pool = domain->create_mempool("p", {.count = 40,
                                             .element_bytes = 100,
                                             .cache_size = 0,
                                             .alignment = 4096,
                                             .construct = [&](void* object, std::uint32_t index) {
                                                 CHECK_FALSE(domain->find_mempool("p"));
                                                 made.emplace(object, index);
                                             }});
    REQUIRE(made.size() == 40);
    while (void* object = pool.get()) {
        CHECK(reinterpret_cast<std::uintptr_t>(object) % 4096 == 0);
        CHECK(made.at(object) < 40);
    }
    CHECK(find_fault(pool.layout()) == nullptr);
}

TEST_CASE("a constructor that throws leaves no pool", "[pool]")
{
    scratch_domain domain;
    const auto refuse = [](void*, std::uint32_t index) {
        if (index == 7)
            throw std::runtime_error{"refused"};
    };
    CHECK_THROWS_WITH(
        domain->create_mempool(
            "p", {.count = 40, .element_bytes = 8, .cache_size = 0, .construct = refuse}),
        "refused");
    CHECK_FALSE(domain->find_mempool("p"));
    CHECK(domain->create_mempool("p", {.count = 40, .element_bytes = 8, .cache_size = 0}).count() ==
          40);
}

TEST_CASE("spread objects begin on all of four memory channels, others are packed", "[pool]")
{
    scratch_domain domain;
    for (const std::uint32_t bytes : {64u, 192u, 448u, 1000u, 2048u, 9000u}) {
        const auto lines = [&](bool spread) {
            const auto name = spread ? "spread" : "packed";
            domain->create_mempool(
                name, {.count = 8, .element_bytes = bytes, .cache_size = 0, .spread = spread});
            const auto stride = domain->find_mempool(name)->layout().stride;
            REQUIRE(domain->destroy_mempool(name));
            return stride / cache_line_bytes;
        };
        CHECK(lines(true) % 2 == 1);
        CHECK(lines(false) == (bytes + object_header_bytes + 63) / 64);
    }
}

TEST_CASE("a pool has a private area that is zero and the same for all", "[pool]")
{
    scratch_domain domain;
    auto pool =
        domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8, .private_area_bytes = 100});
    const auto area = pool.objects().private_area();
    REQUIRE(area.size() == 100);
    CHECK(std::ranges::all_of(area, [](std::byte byte) { return byte == std::byte{0}; }));
    std::ranges::fill(area, std::byte{0xff});
    CHECK(find_fault(pool.objects().layout()) == nullptr);
    CHECK(domain.audit().clean());
    CHECK(domain->find_pktmbuf_pool("p")->objects().private_area().data() == area.data());
}

TEST_CASE("who finds a pool empty gets what idles in others' caches, at their next call", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 60, .element_bytes = 8, .cache_size = 32});
    std::array<void*, 60> objects{};
    REQUIRE(pool.get_bulk(objects));
    pool.put_bulk(std::span{objects}.first(48));  // no more than the cache takes
    REQUIRE(pool.layout().backing().count() == 0);

    std::thread{[&] { CHECK(pool.get() == nullptr); }}.join();
    CHECK(pool.layout().backing().count() == 0);
    pool.put(objects[48]);
    CHECK(pool.layout().backing().count() == 49);
    std::thread{[&] { CHECK(pool.get() != nullptr); }}.join();
    pool.put(objects[49]);
    CHECK(pool.layout().cache(domain->members().lane()).length == 1);
}

TEST_CASE("a cache of one's own serves, refills and flushes, and its pool adds up", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 200, .element_bytes = 8, .cache_size = 0});
    {
        pool_cache cache{pool, 16};
        std::array<void*, 40> objects{};
        REQUIRE(cache.get_bulk(objects));
        CHECK(std::set(objects.begin(), objects.end()).size() == 40);
        CHECK(cache.count() == 16);
        CHECK(domain.audit().clean());
        CHECK(domain.audit_of("p").held == 56);
        cache.put_bulk(objects);
        CHECK(cache.count() <= 24);
        void* const newest = objects.back();
        CHECK(cache.get() == newest);
        cache.put(newest);
        CHECK(domain.audit_of("p").held == cache.count());
        std::array<void*, 201> too_many{};
        CHECK_FALSE(cache.get_bulk(too_many));
    }
    CHECK(domain.audit_of("p").in_pool == 200);
    CHECK_THROWS_WITH(pool_cache(pool, 0), Catch::Contains("0 objects"));
    CHECK_THROWS_WITH(pool_cache(pool, 150), Catch::Contains("150 objects"));
}

TEST_CASE("threads that get and put at once lose nothing", "[pool][stress]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 1024, .element_bytes = 8, .cache_size = 32});
    std::vector<std::thread> threads;
    for (unsigned t = 0; t != 4; ++t)
        threads.emplace_back([&, t] {
            std::vector<void*> some(1 + t * 13);
            for (int i = 0; i != 2000; ++i)
                if (pool.get_bulk(some)) {
                    for (void* object : some)
                        *static_cast<unsigned*>(object) = t;
                    for (void* object : some)
                        if (*static_cast<unsigned*>(object) != t)
                            std::abort();  // two owners at once
                    pool.put_bulk(some);
                }
        });
    for (auto& thread : threads)
        thread.join();

    CHECK(domain.audit_of("p").in_pool == 1024);
    CHECK(domain.audit().clean());
}
