// What others get while somebody alive keeps a critical section: an answer, in time, that names the
// holder. A lock taken here and not let go is what a member leaves that is stopped inside a call.

#include "process/living_domain.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"
#include "support/scratch_network.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace cohort::test {
namespace {

void hold(owner_lock& lock, lane_id lane)
{
    REQUIRE(lock.lock(lane, deadline_in(1s), [](lane_id) { return false; }) ==
            lock_result::acquired);
}

/// The error of a call made by another thread, which has a lane of its own.
template <typename Call>
std::string refusal_of(errc reason, Call call)
{
    std::string sentence = "not refused";
    std::thread{[&] {
        try {
            call();
        } catch (const error& refused) {
            sentence = refused.reason() == reason ? refused.what() : "for another reason";
        }
    }}.join();
    return sentence;
}

}  // namespace

TEST_CASE("while the memory lock is held reserving is refused and finding works", "[stop]")
{
    scratch_domain domain;
    domain->reserve_memzone("there", 64);
    const auto holder = domain->members().lane();
    auto& lock = domain->region().memory.lock;
    hold(lock, holder);

    const auto sentence =
        refusal_of(errc::stalled, [&] { domain->reserve_memzone("another", 64); });

    CHECK_THAT(sentence, Catch::Contains("live lane " + std::to_string(holder)));
    CHECK_FALSE(domain->find_memzone("there").empty());
    lock.unlock();
    CHECK_FALSE(domain->reserve_memzone("another", 64).empty());
}

TEST_CASE("while the recovery lock is held nobody is reaped, claims of the dead are taken over",
          "[stop]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 0});
    auto ring = domain->create_ring<int>("r", 8);
    member_process victim{"victim"};
    victim.tell("take p 20");
    const auto dead = domain->actions().find_member("victim").value();
    const auto holder = domain->members().lane();
    auto& recovery = domain->region().recovery;
    const auto deaths = recovery.deaths.load();
    hold(recovery.lock, holder);

    // A claim in the name of a lane of the victim, as if it had been killed inside an enqueue.
    lane_id its_lane = 0;
    domain->members().members().for_each_lane_of(
        dead.id, [&](lane_id lane, lane_layout&, lane_word) { its_lane = lane; });
    REQUIRE(its_lane != 0);
    auto& side = ring.layout().producer;
    side.word = side.load().next(side.load().position, its_lane).pack();
    victim.kill();

    CHECK(eventually([&] { return ring.enqueue(1); }));
    const auto sentence = refusal_of(errc::stalled, [&] { domain->destroy_ring("r"); });
    CHECK_THAT(sentence, Catch::Contains("lane " + std::to_string(holder)));
    CHECK(recovery.deaths == deaths);
    CHECK(domain.audit_of("p").in_pool == 44);
    recovery.lock.unlock();
    CHECK(eventually([&] { return domain.audit_of("p").in_pool == 64; }));
    CHECK(recovery.deaths == deaths + 1);
}

TEST_CASE("while the recovery lock is held a member that leaves ends, and is reaped later",
          "[stop]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    member_process leaver{"leaver"};
    leaver.tell("take p 20");
    auto& recovery = domain->region().recovery;
    const auto deaths = recovery.deaths.load();
    hold(recovery.lock, domain->members().lane());

    leaver.process().tell("leave");

    CHECK(leaver.process().wait(patience) == exit_status{});
    CHECK(recovery.deaths == deaths);
    CHECK(domain.audit_of("p").in_pool != 64);
    recovery.lock.unlock();
    CHECK(eventually([&] { return domain.audit_of("p").in_pool == 64; }));
    CHECK(recovery.deaths == deaths + 1);
}

TEST_CASE("while a lane is being left nothing that its leaver may look at is destroyed", "[stop]")
{
    scratch_domain domain;
    auto& table = domain->members().members();
    domain->create_mempool("pool", {.count = 64, .element_bytes = 64, .cache_size = 8});
    std::atomic<int> stage{0};
    std::thread leaver{[&] {
        const auto lane = table.enter(domain->self().id, "leaver", -1).value();
        table.begin_leave(lane);
        stage = 1;
        while (stage != 2)
            std::this_thread::yield();
        table.finish_leave(lane);
    }};
    while (stage != 1)
        std::this_thread::yield();

    const auto sentence = refusal_of(errc::stalled, [&] { domain->destroy_mempool("pool"); });

    CHECK_THAT(sentence, Catch::Contains("\"pool\" is not destroyed: lane") &&
                             Catch::Contains("has been leaving for more than 5 s"));
    CHECK(domain->find_mempool("pool"));
    stage = 2;
    CHECK(domain->destroy_mempool("pool"));
    leaver.join();
    CHECK_FALSE(domain->find_mempool("pool"));
}

TEST_CASE("a stopped member's inbox fills up, then senders are refused, and it works again after",
          "[stop]")
{
    scratch_domain domain;
    auto& actions = domain->actions();
    member_process sleeper{"sleeper"};
    sleeper.tell("offer ping");
    const auto to = actions.find_member("sleeper").value();
    stop(sleeper.process());

    int accepted = 0;
    while (accepted != 1000 && actions.send(to, "ping", "unanswered"))
        ++accepted;

    CHECK(accepted == 256);
    sleeper.process().kill(SIGCONT);
    CHECK(eventually([&] { return actions.request(to, "ping", "", 10s).text() == "pong "; }));
}

TEST_CASE(
    "who waits for a processor inside the messages or an inbox delays requests; who is stopped "
    "there has them refused",
    "[stop]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");
    const auto holder = domain->members().lane();
    auto& messages = domain->find_mempool("cohort.messages")->layout().backing();
    auto& inbox = domain->find_ring<void*>("cohort.inbox.2")->layout();
    const auto ask = [&] {
        return std::string{domain->actions().request(ipc::target{"a"}, "ping", "", 10s).text()};
    };
    const bool posting = GENERATE(false, true);
    auto& ring = posting ? inbox : messages;
    auto& side = posting ? inbox.producer : messages.consumer;

    side.word = side.load().next(side.load().position, holder).pack();
    std::string late;
    std::thread asking{[&] { late = ask(); }};  // a thread of its own has nothing in its cache
    std::this_thread::sleep_for(2us * ring.stall_limit_us);
    scrub(ring, holder, holder);
    asking.join();
    CHECK(late == "pong ");

    side.word = side.load().next(side.load().position, holder).pack();
    std::string never;
    std::thread{[&] { never = ask(); }}.join();
    CHECK(never == "member 2 \"a\" was not asked: a process that is stopped keeps others from "
                   "posting; continue or end it");
    scrub(ring, holder, holder);
    CHECK(ask() == "pong ");
}

TEST_CASE("a primary that starts and does not finish costs another the time it was given", "[stop]")
{
    const scratch_runtime_directory directory;
    const int root = ::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(::flock(root, LOCK_EX) == 0);
    const auto start = [] {
        static_cast<void>(primary::start(
            {.name = "late", .memory = 8_MiB, .huge = huge_policy::none, .patience = 200ms}));
    };

    CHECK_THAT(refusal_of(errc::timed_out, start),
               Catch::Contains(directory.path().string()) && Catch::Contains("does not finish"));
    ::close(root);
    CHECK_NOTHROW(start());
}

TEST_CASE("while a pool's ring is claimed, caches serve, and what finds no room is not lost",
          "[stop]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool("p", {.count = 256, .element_bytes = 64, .cache_size = 8});
    const auto holder = domain->members().lane();
    auto& backing = pool.layout().backing();
    const auto claim = [&](ring_side& side) {
        side.word = side.load().next(side.load().position, holder).pack();
    };
    constexpr std::size_t too_many = 15;  // for a cache of 8; each put without room takes a second
    std::vector<void*> taken(too_many);
    std::size_t from_cache = 0;
    std::uint32_t stranded = 0;
    std::thread{[&] {
        static_cast<void>(pool.get_bulk(taken));
        pool.put(pool.get());  // something is in the cache
        claim(backing.consumer);
        for (auto* object = pool.get(); object; object = pool.get()) {
            ++from_cache;
            taken.push_back(object);
        }
        claim(backing.producer);
        for (std::size_t i = 0; i != too_many; ++i) {
            pool.put(taken.back());
            taken.pop_back();
        }
        stranded = pool.layout().cache(domain->members().lane()).stranded;
    }}.join();

    CHECK(from_cache > 0);
    CHECK(stranded > 0);
    scrub(backing, holder, holder);
    for (auto* object : taken)
        pool.put(object);
    const auto after = domain.audit_of("p");
    CHECK(after.held >= stranded);  // and what the thread could not flush when it ended
    CHECK(after.free() + after.held == 256);
    CHECK(domain.audit().clean());
}

TEST_CASE(
    "who opens a port asks the next member when one that has its descriptors is stopped, and is "
    "told when all of them are",
    "[stop][port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    const scratch_network network;
    living_domain domain{"ports"};
    {
        const auto maker = secondary::attach("ports", patience, "set-up");
        maker->create_pktmbuf_pool("packets", {.count = 256, .cache_size = 0});
        maker->create_ring<mbuf*>("got", 64);
    }
    auto maker = child_process::spawn("port_mover", {"ports", "create", "0", "tap:iface=tap"});
    maker.await("made", patience);  // and has given the descriptors to the primary as well
    const auto visitor = secondary::attach("ports", patience, "visitor");

    stop(maker);
    stop(domain.primary());
    CHECK_THAT(refusal_of(errc::stalled, [&] { static_cast<void>(visitor->find_port("wire")); }),
               Catch::Contains("is one of them stopped?"));

    maker.kill(SIGCONT);
    CHECK(visitor->find_port("wire"));
    domain.primary().kill(SIGCONT);
}

}  // namespace cohort::test
