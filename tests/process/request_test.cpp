// Whom a request reaches, and what becomes of several that are under way.

#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"
#include "support/thread_state.hpp"

#include <atomic>
#include <functional>
#include <future>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include <catch2/catch.hpp>

#include <unistd.h>

using namespace cohort;
using ipc::target;
using ipc::verdict;
using test::eventually;
using test::member_process;
using test::patience;
using test::scratch_domain;

namespace {

void pong(ipc::message& received)
{
    received.reply("own pong " + std::string{received.text()});
}

/// The names of those who answered with a reply.
std::set<std::string> who_replied(scratch_domain& domain, const target& to)
{
    std::set<std::string> names;
    for (const auto& given :
         domain->actions().request_async(to, "ping", "x", {.timeout = patience}).wait())
        if (given.what == verdict::replied)
            names.emplace(domain->region().members.members[given.peer.id].name.view());
    return names;
}

}  // namespace

TEST_CASE("a request reaches those whom its target names, and nobody else", "[actions]")
{
    scratch_domain domain;
    member_process a{"a"};
    member_process b{"b"};
    member_process silent{"silent"};
    a.tell("offer ping");
    b.tell("offer ping");
    domain->actions().on("ping", pong);
    using names = std::set<std::string>;

    CHECK(who_replied(domain, target{"b"}) == names{"b"});
    CHECK(who_replied(domain, *domain->actions().find_member("a")) == names{"a"});
    CHECK(who_replied(domain, target::group::primary) == names{"primary"});
    CHECK(who_replied(domain, target::group::others) == names{"a", "b"});
    CHECK(who_replied(domain, target::group::all) == names{"a", "b", "primary"});

    const auto asked = [&](const target& to) {
        return domain->actions().request_async(to, "ping", "", {.timeout = patience}).wait().size();
    };
    CHECK(asked(target::group::others) == 3);
    CHECK(asked(target::group::all) == 4);
    CHECK(asked(target::group::offering) == 3);
    CHECK(domain->actions().send(target::group::others, "ping") == 3);
    CHECK(domain->actions().send(target{"nobody"}, "ping") == 0);
}

TEST_CASE("a request to whom there is not is refused and says so", "[actions]")
{
    scratch_domain domain;

    const auto given = domain->actions().request(target{"nobody"}, "ping");

    CHECK(given.what == verdict::refused);
    CHECK(given.text() == "no member named \"nobody\" lives");
    CHECK(domain->actions()
              .request_async(target::group::others, "ping", "", {.timeout = patience})
              .wait()
              .empty());
}

TEST_CASE("a refusal names the peer", "[actions]")
{
    scratch_domain domain;
    member_process a{"a"};

    const auto given = domain->actions().request(target{"a"}, "nothing", "", patience);

    CHECK(given.what == verdict::refused);
    CHECK(given.text() == "member 2 \"a\" offers no action \"nothing\"");
}

TEST_CASE("requests of one name are under way together and each gets its own reply", "[actions]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");
    std::vector<ipc::async_request> asked;

    for (int i = 0; i != 200; ++i)
        asked.push_back(domain->actions().request_async(target{"a"}, "ping", std::to_string(i),
                                                        {.timeout = patience}));

    for (int i = 199; i >= 0; --i) {
        const auto given = asked[static_cast<std::size_t>(i)].wait();
        REQUIRE(given.size() == 1);
        CHECK(given[0].text() == "pong " + std::to_string(i));
    }
    CHECK(domain->actions().open_requests() == 0);
}

TEST_CASE("a late reply is not the answer to a newer request", "[actions]")
{
    scratch_domain domain;
    std::atomic<bool> released{false};
    member_process a{"a"};
    a.tell("offer-relay relay primary");
    // The relay waits for this handler, which waits for the test: the first reply is late.
    domain->actions().on("ping", [&](ipc::message& received) {
        static_cast<void>(eventually([&] { return released.load(); }));
        received.reply("here");
    });

    const auto first = domain->actions().request(target{"a"}, "relay", "", 1ms);
    auto second = domain->actions().request_async(target{"a"}, "relay", "", {.timeout = patience});
    released = true;
    const auto answered = second.wait();

    CHECK(first.what == verdict::timed_out);
    REQUIRE(answered.size() == 1);
    CHECK(answered[0].text() == "relayed here");
    // Any thread of the asker that finds an answer settles it, so they settle in any order.
    CHECK(eventually([&] { return domain->actions().late_replies() == 1; }));
}

TEST_CASE("a callback is called once with all verdicts, also of the dead and at the deadline",
          "[actions]")
{
    scratch_domain domain;
    member_process answers{"answers"};
    member_process dies{"dies"};
    member_process hangs{"hangs"};
    answers.tell("offer ping");
    dies.tell("offer-death ping");
    hangs.tell("offer-hang ping");
    std::atomic<int> calls{0};
    ipc::answers seen;

    domain->actions().request_async(target::group::others, "ping", "x",
                                    {.timeout = 2s, .then = [&](ipc::answers given) {
                                         seen = std::move(given);
                                         ++calls;
                                     }});

    REQUIRE(eventually([&] { return calls.load() == 1; }));
    REQUIRE(seen.size() == 3);
    CHECK(seen[0].what == verdict::replied);
    CHECK(seen[1].what == verdict::died);
    CHECK(seen[2].what == verdict::timed_out);
    CHECK(domain->actions().open_requests() == 0);
}

TEST_CASE("a request that is cancelled is never answered", "[actions]")
{
    scratch_domain domain;
    member_process hangs{"hangs"};
    hangs.tell("offer-hang ping");
    std::atomic<int> calls{0};
    auto asked = domain->actions().request_async(
        target{"hangs"}, "ping", "",
        {.timeout = patience, .then = [&](const ipc::answers&) { ++calls; }});

    CHECK(asked.cancel());
    CHECK_FALSE(asked.cancel());
    hangs.kill();
    REQUIRE(eventually([&] { return !domain->actions().find_member("hangs"); }));

    CHECK(calls == 0);
    CHECK(domain->actions().open_requests() == 0);
}

TEST_CASE("a request that has ended is not cancelled, and its callback is called", "[actions]")
{
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dispatch = ipc::dispatching::by_caller}};
    int calls = 0;
    auto asked = domain->actions().request_async(
        target{"nobody"}, "ping", "",
        {.timeout = patience, .then = [&](const ipc::answers&) { ++calls; }});

    CHECK_FALSE(asked.cancel());
    domain->poll();

    CHECK(calls == 1);
}

TEST_CASE("who hears of an event may ask, as a handler may", "[actions][events]")
{
    scratch_domain domain;
    std::promise<verdict> asked;
    domain->actions().on("ping", pong);
    domain->on_event([&, told = false](const ipc::domain_event&) mutable {
        if (!std::exchange(told, true))
            asked.set_value(
                domain->actions().request(target{domain->self()}, "ping", "", patience).what);
    });
    member_process a{"a"};

    auto answer = asked.get_future();
    REQUIRE(answer.wait_for(patience) == std::future_status::ready);
    CHECK(answer.get() == verdict::replied);
}

TEST_CASE("a callback may ask again, and a handler may ask its own member", "[actions]")
{
    scratch_domain domain;
    auto& actions = domain->actions();
    actions.on("ping", pong);
    actions.on("outer", [&](ipc::message& received) {
        received.reply(actions.request(target::group::primary, "ping", "inner", patience).text());
    });
    std::atomic<int> rounds{0};
    std::function<void(ipc::answers)> again = [&](const ipc::answers& given) {
        if (given.at(0).text() == "own pong inner" && ++rounds != 5)
            actions.request_async(target::group::primary, "outer", "",
                                  {.timeout = patience, .then = again});
    };

    actions.request_async(target::group::primary, "outer", "",
                          {.timeout = patience, .then = again});

    CHECK(eventually([&] { return rounds.load() == 5; }));
}

TEST_CASE("a handler may allocate, create, and ask another member", "[actions]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");
    auto& actions = domain->actions();
    actions.on("make", [&](ipc::message& received) {
        auto heap = domain->heap();
        auto* block = heap.malloc(3_MiB);  // more than it has: it grows
        auto ring = domain->create_ring<int>("made", 64);
        const bool made = block != nullptr && ring.enqueue(1);
        const auto answer = actions.request(target{"a"}, "ping", "inner", patience);
        heap.free(block);
        domain->destroy_ring("made");
        received.reply(made ? answer.text() : "no memory");
    });

    for (int round = 0; round != 20; ++round)
        CHECK(actions.request(target::group::primary, "make", "", patience).text() == "pong inner");
}

TEST_CASE("a member leaves although a handler of its own waits for an answer for ever", "[actions]")
{
    std::atomic<int> renewals{0};
    std::function<void(ipc::answers)> renew;
    std::optional<scratch_domain> domain{std::in_place};
    member_process hangs{"hangs"};
    hangs.tell("offer-hang hang");
    auto& actions = (*domain)->actions();
    std::atomic<bool> waits{false};
    std::atomic<bool> refused{false};
    actions.on("wait", [&](ipc::message&) {
        waits = true;
        refused =
            actions.request(target{"hangs"}, "hang", "", steady_clock::duration::max()).what ==
            verdict::refused;
    });
    // And one whose callback asks anew, all the time.
    renew = [&](ipc::answers) {
        ++renewals;
        actions.request_async(target::group::primary, "renew", "", {.timeout = 1s, .then = renew});
    };
    renew({});
    REQUIRE(eventually([&] { return renewals > 2; }));
    actions.request_async(target::group::primary, "wait", "", {.timeout = patience});
    REQUIRE(eventually([&] { return waits.load(); }));

    domain.reset();

    CHECK(refused);
}

TEST_CASE("what a handler or callback throws ends no member, whatever its type", "[actions]")
{
    scratch_domain domain;
    auto& actions = domain->actions();
    actions.on("throw", [](ipc::message&) { throw 7; });
    domain->register_query("/test/throw", "throws",
                           [](std::string_view) -> std::string { throw 7; });
    std::atomic<bool> called{false};

    CHECK_THAT(std::string{actions.request(target::group::primary, "throw", "", patience).text()},
               Catch::Contains("an exception that is no std::exception"));
    CHECK_THAT(domain->queries().answer("/test/throw"), Catch::Contains("no std::exception"));
    actions.request_async(target::group::primary, "throw", "",
                          {.timeout = patience, .then = [&](ipc::answers) {
                               called = true;
                               throw 7;
                           }});
    actions.on("still there", [&](ipc::message& received) { received.reply("yes"); });
    CHECK(actions.request(target::group::primary, "still there", "", patience).text() == "yes");
    CHECK(eventually([&] {  // later, by the same thread
        return actions.request(target::group::primary, "still there", "", patience).what ==
                   verdict::replied &&
               called;
    }));
}

TEST_CASE("unregistering waits for a running handler, and a handler may unregister any",
          "[actions]")
{
    scratch_domain domain;
    auto& actions = domain->actions();
    std::atomic<bool> running{false};
    std::atomic<bool> ended{false};
    std::atomic<bool> leaving{false};
    actions.on("slow", [&](ipc::message& received) {
        running = true;
        static_cast<void>(eventually([&] { return leaving.load(); }));
        received.reply("done");
        ended = true;
    });
    actions.on("last", [&](ipc::message& received) {
        const bool gone = actions.off("last");
        received.reply(gone && !actions.off("slow") ? "both gone" : "still there");
    });

    auto asked = actions.request_async(target::group::primary, "slow", "", {.timeout = patience});
    REQUIRE(eventually([&] { return running.load(); }));
    leaving = true;
    CHECK(actions.off("slow"));
    CHECK(ended);
    CHECK(asked.wait().at(0).text() == "done");

    CHECK(actions.request(target::group::primary, "last", "", patience).text() == "both gone");
    CHECK(actions.request(target::group::primary, "last", "", patience).what == verdict::refused);
}

TEST_CASE("who sleeps until an answer comes is told that the domain is left", "[actions]")
{
    std::optional<scratch_domain> domain{std::in_place};
    member_process hangs{"hangs"};
    hangs.tell("offer-hang ping");
    auto asked =
        (*domain)->actions().request_async(target{"hangs"}, "ping", "", {.timeout = patience});
    std::atomic<pid_t> sleeper{0};
    auto told = std::async(std::launch::async, [&] {  // without a lane: nothing stays mapped for it
        sleeper = ::gettid();
        return asked.wait();
    });
    REQUIRE(eventually([&] {
        return sleeper != 0 &&
               test::thread_state("/proc/self/task/" + std::to_string(sleeper.load())) == 'S';
    }));

    domain.reset();

    CHECK(told.get().at(0).what == verdict::refused);
}

TEST_CASE("requests that are under way when a domain is left end as refused", "[actions]")
{
    std::optional<scratch_domain> domain{std::in_place};
    member_process hangs{"hangs"};
    hangs.tell("offer-hang ping");
    auto asked =
        (*domain)->actions().request_async(target{"hangs"}, "ping", "", {.timeout = patience});

    domain.reset();
    const auto given = asked.wait();

    REQUIRE(given.size() == 1);
    CHECK(given[0].what == verdict::refused);
    CHECK(given[0].text() == "this member leaves the domain");
}
