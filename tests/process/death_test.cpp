// What a member held when it was killed, and where it is afterwards.

#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/redelivered.hpp"
#include "support/scratch_domain.hpp"
#include "support/stopped.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using test::eventually;
using test::member_process;
using test::scratch_domain;

namespace {

const obituary_layout* obituary_of(scratch_domain& domain, std::string_view name)
{
    for (const auto& obituary : domain->region().recovery.obituaries)
        if (obituary.number.load() != 0 && obituary.name == name && obituary.reaped_ns != 0)
            return &obituary;
    return nullptr;
}

bool is_gone(scratch_domain& domain, std::string_view name)
{
    return obituary_of(domain, name) && !domain->actions().find_member(name);
}

/// Sends `count` numbered packets into a ring.
void send_numbered(pktmbuf_pool& pool, ring<mbuf*>& to, std::uint32_t count)
{
    for (std::uint32_t i = 0; i != count; ++i) {
        auto* packet = pool.alloc();
        REQUIRE(packet);
        packet->hash.tag = i;
        REQUIRE(to.enqueue(packet));
    }
}

std::multiset<std::uint32_t> drain(ring<mbuf*> from)
{
    std::multiset<std::uint32_t> tags;
    for (mbuf* packet = nullptr; from.dequeue(packet); free(packet))
        tags.insert(packet->hash.tag);
    return tags;
}

std::multiset<std::uint32_t> first_numbers(std::uint32_t count)
{
    std::multiset<std::uint32_t> all;
    for (std::uint32_t i = 0; i != count; ++i)
        all.insert(i);
    return all;
}

}  // namespace

TEST_CASE("fresh, received, cached and chained buffers of a killed member all come back", "[death]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 1024, .cache_size = 64});
    auto ring = domain->create_ring<mbuf*>("r", 256);
    send_numbered(pool, ring, 50);
    member_process member{"victim"};
    member.tell("take p 30");
    member.tell("receive r 20");
    member.tell("chain p 9000");
    member.tell("give-cache p 40");
    REQUIRE(domain.audit_of("p").held == 51);

    member.kill();

    REQUIRE(eventually([&] { return is_gone(domain, "victim"); }));
    const auto& obituary = *obituary_of(domain, "victim");
    CHECK(obituary.received == 20);
    CHECK(obituary.cached >= 40);
    CHECK(obituary.redelivered == 0);
    CHECK(obituary.released == 20 + 30 + 5 + obituary.cached);
    CHECK(domain.audit().clean());
    CHECK(ring.count() == 30);
    CHECK(drain(ring).size() == 30);
    pool.objects().flush();
    CHECK(domain.audit_of("p").in_pool == 1024);
}

TEST_CASE("received packets are redelivered once and in no other case", "[death]")
{
    scratch_domain domain;
    const bool by_name = GENERATE(true, false);
    auto pool = domain->create_pktmbuf_pool(
        "p", {.count = 1024,
              .cache_size = 64,
              .policy = by_name ? recovery_policy::redeliver : recovery_policy::give_back,
              .redeliver_to = by_name ? "again" : ""});
    auto ring = domain->create_ring<mbuf*>("r", 256);
    auto again = domain->create_ring<mbuf*>("again", 256);
    send_numbered(pool, ring, 50);
    member_process member{"victim"};
    member.tell("receive r 20");
    member.tell("take p 30");

    member.kill();

    REQUIRE(eventually([&] { return is_gone(domain, "victim"); }));
    CHECK(obituary_of(domain, "victim")->redelivered == 20);
    auto all = drain(ring);
    all.merge(drain(again));
    CHECK(all == first_numbers(50));
    CHECK(domain.audit().clean());
    CHECK(pool.objects().available() == 1024);
}

TEST_CASE("a ring owes nothing to packets of the ring that was in its place before", "[death]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool(
        "p", {.count = 64, .cache_size = 0, .policy = recovery_policy::give_back});
    auto gone = domain->create_ring<mbuf*>("gone", 64);
    send_numbered(pool, gone, 20);
    member_process holder{"holder"};
    holder.tell("receive gone 20");
    const auto place = gone.layout().index;
    const bool by_a_dead_member = GENERATE(false, true);
    if (by_a_dead_member) {
        auto destroyer = test::child_process::spawn("member", {"scratch", "destroyer"},
                                                    {"COHORT_FAULT=domain.destroying"});
        destroyer.await("ready", test::patience);
        destroyer.tell("destroy gone");
        REQUIRE(destroyer.wait(test::patience) == test::exit_status{.signal = SIGKILL});
        REQUIRE(eventually([&] { return is_gone(domain, "destroyer"); }));
    } else {
        REQUIRE(domain->destroy_ring("gone"));
    }
    const auto next = domain->create_ring<mbuf*>("gone", 64);  // a name chooses its place
    REQUIRE(next.layout().index == place);

    holder.kill();

    REQUIRE(eventually([&] { return is_gone(domain, "holder"); }));
    CHECK(next.empty());
    CHECK(obituary_of(domain, "holder")->received == 20);
    CHECK(obituary_of(domain, "holder")->released == 20);
    CHECK(domain.audit().clean());
    CHECK(pool.objects().available() == 64);
}

TEST_CASE("what a member has given away or entrusted to the domain survives it", "[death][custody]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 1024, .cache_size = 64});
    member_process giver{"giver"};
    member_process heir{"heir"};
    giver.tell("take p 30");
    giver.tell("chain p 9000");
    giver.tell("give heir");
    giver.tell("take p 20");
    giver.tell("entrust");
    giver.tell("take p 10");

    giver.kill();
    REQUIRE(eventually([&] { return is_gone(domain, "giver"); }));
    CHECK(domain.audit().clean());
    CHECK(domain.audit_of("p").held == 31);
    CHECK(domain.audit_of("p").kept == 20);

    heir.kill();
    REQUIRE(eventually([&] { return is_gone(domain, "heir"); }));
    CHECK(domain.audit().clean());
    CHECK(domain.audit_of("p").kept == 20);
    CHECK(pool.objects().available() == 1024 - 20);
}

TEST_CASE("what lies in a cache of a killed member's own comes back with what it held", "[death]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("p", {.count = 256, .cache_size = 0});
    member_process member{"victim"};
    member.tell("fill-own-cache p 60");
    REQUIRE(domain.audit_of("p").held == 120);

    member.kill();

    REQUIRE(eventually([&] { return is_gone(domain, "victim"); }));
    CHECK(obituary_of(domain, "victim")->released == 120);
    CHECK(domain.audit_of("p").in_pool == 256);
    CHECK(domain.audit().clean());
}

// By a message, say, or a ring that carries no custody. Until the put the word is still the
// giver's.
TEST_CASE("what somebody else has put back is given to nobody twice when its giver dies", "[death]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 64, .element_bytes = 8, .cache_size = 16});
    member_process member{"giver"};
    member.tell("get p 20");
    std::vector<void*> handed;
    for (std::uint32_t i = 0; i != 64 && handed.size() != 10; ++i)
        if (domain->find(pool.layout().handle(i)).where == whereabouts::place::held)
            handed.push_back(pool.layout().handle(i));
    REQUIRE(handed.size() == 10);
    pool.put_bulk(handed);  // into this lane's cache

    member.kill();

    REQUIRE(eventually([&] { return is_gone(domain, "giver"); }));
    CHECK(domain.audit().clean());
    std::vector<void*> all(64);
    for (auto& object : all)
        object = pool.get();
    CHECK(std::set(all.begin(), all.end()).size() == 64);
    CHECK(std::ranges::find(all, nullptr) == all.end());
    CHECK(pool.get() == nullptr);
}

TEST_CASE("packets that find the redelivery ring full wait and are never dropped", "[death]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", test::redelivered_to("again", 1024, 64));
    auto ring = domain->create_ring<mbuf*>("r", 256);
    auto again = domain->create_ring<mbuf*>("again", 8);
    send_numbered(pool, ring, 50);
    member_process member{"victim"};
    member.tell("receive r 50");

    member.kill();

    REQUIRE(eventually([&] { return is_gone(domain, "victim"); }));
    CHECK(domain.audit_of("p").waiting == 42);
    CHECK(domain.audit().clean());
    std::multiset<std::uint32_t> all;
    REQUIRE(eventually([&] {
        all.merge(drain(again));
        return all.size() >= 50;
    }));
    CHECK(all == first_numbers(50));
    CHECK(pool.objects().available() == 1024);
}

TEST_CASE("a member that leaves gives back what it still holds, at once", "[death]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("p", {.count = 256, .cache_size = 32});
    member_process member{"leaver"};
    member.tell("take p 30");
    member.tell("chain p 5000");

    member.leave();

    CHECK(is_gone(domain, "leaver"));
    CHECK(obituary_of(domain, "leaver")->orderly == 1);
    CHECK(domain.audit_of("p").in_pool == 256);
    CHECK(domain.audit().clean());
}

TEST_CASE("nothing is taken from a stopped member, and it carries on when it is continued",
          "[death]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("p", {.count = 256, .cache_size = 32});
    member_process member{"sleeper"};
    member.tell("take p 30");
    stop(member.process());

    std::this_thread::sleep_for(1s);  // ten look-arounds of the dispatcher

    CHECK(domain.audit_of("p").held == 30);
    CHECK(domain->actions().find_member("sleeper"));
    member.process().kill(SIGCONT);
    member.tell("free");
    CHECK(domain.audit_of("p").held == 0);
}

TEST_CASE("a zombie that nobody reaps is dead all the same", "[death]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 256, .cache_size = 32});
    member_process member{"zombie"};
    member.tell("take p 30");

    member.process().kill();
    REQUIRE(member.process().await_death(10s));

    REQUIRE(eventually([&] { return is_gone(domain, "zombie"); }));
    pool.objects().flush();
    CHECK(domain.audit_of("p").in_pool == 256);
}

TEST_CASE("a member that becomes another program by execve is dead to the domain", "[death]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 256, .cache_size = 32});
    member_process member{"changeling"};
    member.tell("take p 30");

    member.start("exec");

    REQUIRE(eventually([&] { return is_gone(domain, "changeling"); }));
    CHECK(::kill(member.process().pid(), 0) == 0);  // its process lives
    pool.objects().flush();
    CHECK(domain.audit_of("p").in_pool == 256);
}

TEST_CASE("a slot is used again only with another generation, and old buffers do not confuse it",
          "[death]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("p", {.count = 256, .cache_size = 32});
    std::set<std::uint32_t> generations;
    for (int i = 0; i != 5; ++i) {
        member_process member{"heir"};
        member.tell("take p 30");
        const auto self = domain->actions().find_member("heir");
        REQUIRE(self);
        CHECK(self->id == 2);
        CHECK(generations.insert(self->generation).second);
        REQUIRE(domain.audit_of("p").held == 30);
        member.kill();
        REQUIRE(eventually([&] { return !domain->actions().find_member("heir"); }));
    }
    REQUIRE(eventually([&] { return domain.audit_of("p").held == 0; }));
    CHECK(domain.audit().clean());
}
