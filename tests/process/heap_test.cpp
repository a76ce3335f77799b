// One heap, several processes: what another member allocated, and what a dead one leaves.

#include "process/shown_by.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"
#include "support/stopped.hpp"

#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
TEST_CASE("a block is freed by another member than its maker", "[heap][process]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    member_process other{"other"};
    other.tell("offer-free free");
    auto* block = heap.malloc(1000);
    const auto address = std::to_string(reinterpret_cast<std::uintptr_t>(block));
    const auto to = domain->actions().find_member("other").value();

    CHECK(domain->actions().request(to, "free", address, 10s).text() == "freed");
    CHECK(domain->actions().request(to, "free", address, 10s).text() == "no block");

    CHECK(heap.layout().counters.used_blocks == 0);
    CHECK_FALSE(heap.find_fault().has_value());
}

TEST_CASE("a dead member's blocks stay under its name, but for those that go with it",
          "[heap][process]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    member_process victim{"victim"};
    for (int i = 0; i != 3; ++i) {
        victim.tell("allocate routes 1000");
        victim.tell("allocate mortal 500");
    }
    static_cast<void>(heap.malloc(100, heap.type("ours")));
    CHECK(heap.layout().counters.used_blocks == 7);
    CHECK_THAT(shown_by({"blocks"}),
               Catch::Contains("victim") && Catch::Contains("ours") && Catch::Contains("mortal"));

    victim.kill();

    REQUIRE(eventually([&] { return heap.layout().counters.used_blocks == 4; }));
    const auto left = shown_by({"blocks", "--dead"});
    CHECK_THAT(left, Catch::Contains("routes") && Catch::Contains("gone"));
    CHECK_THAT(left, !Catch::Contains("mortal") && !Catch::Contains("ours"));
    CHECK_THAT(shown_by({"heaps"}), Catch::Contains("heap.0"));
    CHECK_FALSE(heap.find_fault().has_value());
}

TEST_CASE("arenas that a death empties go back, but for one", "[heap][process]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    member_process victim{"victim"};
    for (int i = 0; i != 5; ++i)
        victim.tell("allocate mortal 20000000");
    CHECK(heap.layout().counters.arenas == 5);

    victim.kill();

    CHECK(eventually([&] { return heap.layout().counters.arenas == 1; }));
    CHECK(eventually([&] { return !domain->actions().find_member("victim"); }));
    CHECK_FALSE(heap.find_fault().has_value());
    CHECK_FALSE(domain->segments().find_fault(domain->members().who()).has_value());
}

TEST_CASE("what a member leaves in an orderly way is kept or released as after its death",
          "[heap][process]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    member_process guest{"guest"};
    guest.tell("allocate routes 1000");
    guest.tell("allocate mortal 500");

    guest.leave();

    CHECK(eventually([&] { return heap.layout().counters.used_blocks == 1; }));
    CHECK_FALSE(heap.find_fault().has_value());
}

TEST_CASE("a heap that is held keeps a dead member's blocks and nothing else", "[heap][process]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    member_process victim{"victim"};
    victim.tell("allocate mortal 500");
    victim.tell("take p 20");
    auto& lock = const_cast<heap_layout&>(heap.layout()).lock;
    REQUIRE(lock.lock(domain->members().lane(), deadline_in(1s), [](lane_id) { return false; }) ==
            lock_result::acquired);

    victim.kill();

    // Its buffers come back meanwhile, and the reaper waits for nobody.
    REQUIRE(eventually([&] { return domain.audit_of("p").in_pool == 64; }));
    CHECK(heap.layout().counters.used_blocks == 1);
    domain->create_ring<int>("while held", 4);
    CHECK(domain->destroy_ring("while held"));
    lock.unlock();
    CHECK(eventually([&] { return heap.layout().counters.used_blocks == 0; }));
    CHECK(eventually([&] { return !domain->actions().find_member("victim"); }));
}

TEST_CASE("a member stopped outside the heap delays nobody", "[heap][process]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    member_process sleeper{"sleeper"};
    sleeper.tell("allocate routes 1000");
    stop(sleeper.process());

    for (int i = 0; i != 1000; ++i)
        REQUIRE(heap.free(heap.malloc(100)));
    CHECK(heap.free(heap.malloc(20'000'000)));  // grows and shrinks

    sleeper.process().kill(SIGCONT);
    sleeper.tell("allocate routes 1000");
}

}  // namespace cohort::test
