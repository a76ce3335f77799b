#include "cohort/recovery/audit.hpp"

#include "support/scratch_domain.hpp"

#include <atomic>
#include <thread>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

// An audit that cannot fail proves nothing: each case breaks one rule by hand and must be told.

TEST_CASE("the audit tells of a buffer that is in a ring and in a cache", "[audit]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto ring = domain->create_ring<mbuf*>("r", 16);
    auto* packet = pool.alloc();
    REQUIRE(ring.enqueue(packet));

    pool.objects().put(packet);

    REQUIRE_FALSE(domain.audit().clean());
    CHECK_THAT(domain.audit().faults.front(), Catch::Contains("one more place"));
}

TEST_CASE("the audit tells of a buffer whose holder does not live", "[audit]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto* packet = pool.alloc();

    packet->custody = custody::holder(9, 3);

    REQUIRE_FALSE(domain.audit().clean());
    CHECK_THAT(domain.audit().faults.front(), Catch::Contains("names no live member"));
}

TEST_CASE("the audit tells of a segment that no chain reaches", "[audit]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto* packet = pool.alloc_chain(5000);

    packet->next->next = nullptr;

    REQUIRE_FALSE(domain.audit().clean());
    CHECK(domain.audit_of("p").unexplained == 1);
}

TEST_CASE("the audit tells of a handle that is no buffer, and of a claim by a lane not in use",
          "[audit]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto ring = domain->create_ring<mbuf*>("r", 16);

    SECTION("a stray handle")
    {
        REQUIRE(ring.enqueue(reinterpret_cast<mbuf*>(domain->region().header.window_base + 64)));
        CHECK_THAT(domain.audit().faults.at(0), Catch::Contains("no buffer"));
        ring.layout().consumer.word = ring.layout().producer.word.load();
    }
    SECTION("a stray claim")
    {
        ring.layout().producer.word = ring_word{0, 77, 0}.pack();
        CHECK_THAT(domain.audit().faults.at(0), Catch::Contains("lane 77"));
        ring.layout().producer.word = 0;
    }
}

TEST_CASE("an audit beside a flow that is faster than its scans finds no buffer twice", "[audit]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 2048, .cache_size = 0});
    auto forth = domain->create_ring<mbuf*>("forth", 256);
    auto between = domain->create_ring<mbuf*>("between", 2048);  // long to walk
    auto back = domain->create_ring<mbuf*>("back", 256);
    for (int i = 0; i != 1900; ++i)
        REQUIRE(between.enqueue(pool.alloc()));
    std::array<mbuf*, 64> packets{};
    REQUIRE(pool.alloc_bulk(packets));
    REQUIRE(forth.enqueue_bulk(packets));

    std::atomic<bool> done{false};
    std::thread flow{[&] {
        const auto move = [](auto& from, auto& to) {
            std::array<mbuf*, 64> some{};
            const auto taken = std::span{some}.first(from.dequeue_burst(some));
            while (!taken.empty() && !to.enqueue_bulk(taken))
                ;
        };
        while (!done.load(std::memory_order_relaxed)) {
            move(forth, back);
            move(back, forth);
        }
    }};
    std::size_t told = 0;
    for (int i = 0; i != 100; ++i)
        told += domain.audit().faults.size();
    done.store(true, std::memory_order_relaxed);
    flow.join();

    CHECK(told == 0);
    CHECK(domain.audit().clean());
}

TEST_CASE("an audit waits for who was preempted in the middle of a move", "[audit]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto* packet = pool.alloc();
    const auto ours = packet->custody;
    packet->custody = custody::holder(9, 3);
    std::thread mover{[&] {
        std::this_thread::sleep_for(10ms);
        std::atomic_ref{packet->custody}.store(ours);
    }};

    const auto report = domain.audit();

    mover.join();
    CHECK(report.faults == std::vector<std::string>{});
}

TEST_CASE("holders says who has received, fresh and cached buffers", "[audit]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto ring = domain->create_ring<mbuf*>("r", 16);
    std::array<mbuf*, 3> packets{};
    REQUIRE(pool.alloc_bulk(packets));
    REQUIRE(ring.enqueue_burst(std::span{packets}.first(2)) == 2);
    mbuf* received = nullptr;
    REQUIRE(ring.dequeue(received));

    const auto* zone = domain->segments().find(zone_kind::mempool, "p");
    const auto all = holders(audited(domain->region()), *zone);

    REQUIRE(all.size() == 1);
    CHECK(all[0].member == domain->self().id);
    CHECK(all[0].received == 1);
    CHECK(all[0].fresh == 1);
    CHECK(all[0].cached == 8);
}
