#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/mbuf_custody.hpp"
#include "support/scratch_domain.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace cohort;
using cohort::test::scratch_domain;
using place = whereabouts::place;

TEST_CASE("a kept packet is the domain's until one of those that try takes it", "[custody]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto* packet = pool.alloc_chain(5000);
    REQUIRE(packet);

    keep(*packet);
    CHECK(domain.audit().clean());
    CHECK(domain.audit_of("p").kept == 1);
    CHECK(domain.audit_of("p").adds_up());
    CHECK(domain->find(packet).where == place::kept);

    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (int i = 0; i != 4; ++i)
        threads.emplace_back([&] { winners += take(*packet); });
    for (auto& each : threads)
        each.join();
    CHECK(winners == 1);
    CHECK_FALSE(take(*packet));
    CHECK(domain.audit_of("p").kept == 0);
    free(packet);
    CHECK(domain.audit().clean());
}

TEST_CASE("a packet is given to a member that lives and to no other", "[custody]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto* packet = pool.alloc();

    CHECK(domain->give(*packet, domain->self()));
    const auto before = packet->custody;
    CHECK_FALSE(domain->give(*packet, {.id = 0, .generation = 1}));
    CHECK_FALSE(domain->give(*packet, {.id = 9, .generation = 1}));
    CHECK_FALSE(domain->give(*packet, {.id = 60'000, .generation = 1}));
    CHECK_FALSE(domain->give(
        *packet, {.id = domain->self().id, .generation = domain->self().generation + 1}));
    CHECK(packet->custody == before);
    free(packet);
}

TEST_CASE("what was given to a member that had died by then is released by the next look",
          "[custody]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto* packet = pool.alloc_chain(5000);
    std::atomic_ref{packet->custody} = custody::holder(9, 3);  // whose reaper has gone already
    REQUIRE_FALSE(domain.audit().clean());

    domain->region().recovery.some_wait.fetch_add(1);
    reaper look{domain->segments(), domain->region().recovery, domain->members()};
    REQUIRE(look.deliver_waiting() == reaper::outcome::done);

    CHECK(domain.audit().clean());
    CHECK(pool.objects().available() == 64);
    CHECK(domain->region().recovery.some_wait == 0);
}

TEST_CASE("find says where a buffer is", "[custody]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto ring = domain->create_ring<mbuf*>("r", 16);
    auto* chain_of = pool.alloc_chain(5000);
    auto* packet = pool.alloc();

    CHECK(domain->find(&domain).where == place::unknown);
    CHECK(domain->find(packet).where == place::held);
    CHECK(domain->find(packet).text() == fmt::format("held by member {}", domain->self().id));
    CHECK(domain->find(chain_of->next).where == place::follower);
    REQUIRE(ring.enqueue(packet));
    CHECK(domain->find(packet).text() == "in the ring \"r\"");
    REQUIRE(ring.dequeue(packet));
    CHECK(domain->find(packet).where == place::received);
    CHECK(domain->find(packet).name == "r");
    auto* shown = clone(*packet, pool.objects());
    free(packet);
    CHECK(domain->find(packet).where == place::shared);
    free(shown);
    CHECK(domain->find(packet).where == place::cache);
    CHECK(domain->find(packet).lane == domain->members().lane());
    pool.objects().flush();
    CHECK(domain->find(packet).text() == "in its pool \"p\"");
    free(chain_of);
}
