// Members without a dispatcher's thread: the test's own loop does its work.

#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"

#include <atomic>
#include <future>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <catch2/catch.hpp>

#include <poll.h>

using namespace cohort;
using ipc::dispatching;
using ipc::polling;
using ipc::target;
using ipc::verdict;
using test::eventually;
using test::member_process;
using test::patience;
using test::scratch_domain;

namespace {

/// Sleeps on the descriptor and polls, until `done`. False when it takes too long.
template <typename Done>
bool poll_until(ipc::joined_domain& domain, Done&& done)
{
    const auto until = deadline_in(patience);
    while (!done()) {
        pollfd readable{domain.poll_fd(), POLLIN, 0};
        if (::poll(&readable, 1, milliseconds_left(until)) == 0)
            return false;
        domain.poll();
    }
    return true;
}

/// A member that has attached while a thread of the test polled for the primary.
member_process joined_while_polled(scratch_domain& domain, const std::string& name = "asker")
{
    std::atomic<bool> attached{false};
    std::thread polls{[&] { poll_until(*domain, [&] { return attached.load(); }); }};
    std::optional<member_process> joined;
    try {
        joined.emplace(name);
    } catch (...) {
        attached = true;
        polls.join();
        throw;
    }
    attached = true;
    polls.join();
    return std::move(*joined);
}

void count_pings(ipc::joined_domain& domain, std::set<std::thread::id>& threads, int& pings)
{
    domain.actions().on("ping", [&](ipc::message& received) {
        ++pings;
        threads.insert(std::this_thread::get_id());
        received.reply("polled");
    });
}

}  // namespace

TEST_CASE("a member that is polled answers in the polling thread and wakes by its descriptor",
          "[actions][poll]")
{
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dispatch = dispatching::by_caller}};
    auto asker = joined_while_polled(domain);
    std::set<std::thread::id> threads;
    int pings = 0;
    count_pings(*domain, threads, pings);

    asker.start("ask primary ping 100");
    const bool answered = poll_until(*domain, [&] { return pings == 100; });

    CHECK(answered);
    asker.await_done();
    CHECK(threads == std::set{std::this_thread::get_id()});
}

TEST_CASE("a busy poller answers", "[actions][poll]")
{
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dispatch = dispatching::by_caller}};
    auto asker = joined_while_polled(domain);
    std::set<std::thread::id> threads;
    int pings = 0;
    count_pings(*domain, threads, pings);

    asker.start("ask primary ping 1000");
    const auto until = deadline_in(patience);
    while (pings != 1000 && steady_clock::now() < until)
        domain->poll(polling::busy);

    CHECK(pings == 1000);
    asker.await_done();
}

TEST_CASE("a member whose inbox is never empty hears who joins", "[actions][poll]")
{
    const auto how = GENERATE(std::optional<polling>{}, std::optional{polling::busy},
                              std::optional{polling::until_readable});
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none,
                               .dispatch = how ? dispatching::by_caller : dispatching::own_thread}};
    domain->actions().on("again", [&](ipc::message&) {
        domain->actions().send(target{domain->self()}, "again", "");
    });
    domain->actions().send(target{domain->self()}, "again", "");

    auto joining = std::async(std::launch::async, [] { return member_process{"newcomer"}; });
    const auto has_joined = [&] { return joining.wait_for(0s) == std::future_status::ready; };
    while (how && !has_joined())  // it gives up by itself
        domain->poll(*how);

    CHECK_NOTHROW(joining.get());
}

TEST_CASE("two threads that poll one member do not wait for each other in a handler that asks",
          "[actions][poll]")
{
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dispatch = dispatching::by_caller}};
    auto a = joined_while_polled(domain, "a");
    a.tell("offer pong");
    std::atomic<int> asked{0};
    std::atomic<int> answered{0};
    domain->actions().on("ping", [&](ipc::message&) {
        const auto what = domain->actions().request(target{"a"}, "pong", "", patience).what;
        answered += what == verdict::replied ? 1 : 0;
        if (++asked != 300)
            domain->actions().send(target{domain->self()}, "ping", "");
    });
    domain->actions().send(target{domain->self()}, "ping", "");
    const auto poll = [&] {
        while (asked < 300)
            domain->poll(polling::busy);
    };

    std::thread other{poll};
    poll();
    other.join();

    CHECK(answered == 300);
}

TEST_CASE("a loop that sleeps on the descriptor hears what comes after a request of its own",
          "[actions][poll]")
{
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dispatch = dispatching::by_caller}};
    auto hangs = joined_while_polled(domain, "hangs");
    auto asker = joined_while_polled(domain);
    hangs.tell("offer-hang hang");
    std::set<std::thread::id> threads;
    int pings = 0;
    count_pings(*domain, threads, pings);

    // Longer than the timer of the descriptor, so that the request has taken that, too.
    CHECK(domain->actions().request(target{"hangs"}, "hang", "", 150ms).what == verdict::timed_out);
    asker.start("ask primary ping 1");

    CHECK(poll_until(*domain, [&] { return pings == 1; }));
    asker.await_done();
}

TEST_CASE("a loop that sleeps on the descriptor goes on when a callback has thrown",
          "[actions][poll]")
{
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dispatch = dispatching::by_caller}};
    bool called = false;
    domain->actions().request_async(target{"nobody"}, "ping", "",
                                    {.timeout = patience, .then = [](const ipc::answers&) {
                                         throw std::runtime_error{"of the user"};
                                     }});
    domain->actions().request_async(
        target{"nobody"}, "ping", "",
        {.timeout = patience, .then = [&](const ipc::answers&) { called = true; }});

    std::this_thread::sleep_for(150ms);  // so that the first poll takes the descriptor's timer, too
    CHECK(poll_until(*domain, [&] { return called; }));
}

TEST_CASE("a member without a thread waits for answers, callbacks and deaths by its own calls",
          "[actions][poll]")
{
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dispatch = dispatching::by_caller}};
    auto a = joined_while_polled(domain, "a");
    auto dies = joined_while_polled(domain, "dies");
    a.tell("offer ping");
    dies.tell("offer-death ping");

    CHECK(domain->actions().request(target{"a"}, "ping", "x", patience).text() == "pong x");
    CHECK(domain->actions().request(target{"dies"}, "ping", "x", patience).what == verdict::died);
    bool called = false;
    domain->actions().request_async(target{"a"}, "unheard", "",
                                    {.timeout = patience, .then = [&](const ipc::answers& given) {
                                         called = given.at(0).what == verdict::refused;
                                     }});
    CHECK(poll_until(*domain, [&] { return called; }));
    CHECK(poll_until(*domain, [&] { return !domain->actions().find_member("dies"); }));
}

TEST_CASE("a handler that waits hears of the death of whom it asks", "[actions][poll]")
{
    scratch_domain domain;
    member_process dies{"dies"};
    dies.tell("offer-death ping");
    domain->actions().on("relay", [&](ipc::message& received) {
        const auto given = domain->actions().request(target{"dies"}, "ping", "", patience);
        received.reply(to_text(given.what));
    });

    const auto given = domain->actions().request(target::group::primary, "relay", "", patience);

    CHECK(given.text() == "died");
}
