// The primary dies; members carry on; a new primary adopts them.

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_directory.hpp"
#include "support/stopped.hpp"

#include <catch2/catch.hpp>

using namespace cohort;
using test::child_process;
using test::eventually;
using test::member_process;
using test::patience;

namespace {

/// A cohortd of its own; this process attaches as a secondary.
struct domain_with_daemon {
    test::scratch_runtime_directory directory;
    child_process daemon = start_daemon();
    std::unique_ptr<secondary::attachment> domain = secondary::attach("scratch", 10s, "tester");

    static child_process start_daemon(const std::vector<std::string>& more = {})
    {
        std::vector<std::string> arguments{"--domain", "scratch", "--memory",
                                           "16M",      "--huge",  "none"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        auto started = child_process::spawn("cohortd", arguments);
        REQUIRE(started.read_line(patience));
        return started;
    }
    void kill_daemon()
    {
        daemon.kill();
        REQUIRE(daemon.wait(patience));
        REQUIRE(eventually([&] { return !domain->primary_alive(); }));
    }
};

/// As another process might: no order with those that read it here.
__attribute__((no_sanitize("thread"), noinline)) void change_in_passing(std::uint64_t& word)
{
    word ^= 1;
}

}  // namespace

TEST_CASE("members carry on without a primary and reap each other", "[adoption]")
{
    domain_with_daemon with;
    auto pool = with.domain->create_pktmbuf_pool("p", {.count = 256, .cache_size = 32});
    member_process other{"other"};
    other.tell("take p 30");
    other.tell("offer ping");

    with.kill_daemon();

    auto& actions = with.domain->actions();
    CHECK(actions.request(*actions.find_member("other"), "ping", "", 10s).text() == "pong ");
    CHECK_FALSE(secondary::primary_alive("scratch"));
    other.kill();
    REQUIRE(eventually([&] { return !actions.find_member("other"); }));
    pool.objects().flush();
    CHECK(eventually([&] { return pool.objects().available() == 256; }));
    CHECK(audit(audited(with.domain->region())).clean());
}

TEST_CASE("a new primary adopts the members of a dead one and admits more", "[adoption]")
{
    domain_with_daemon with;
    auto pool = with.domain->create_pktmbuf_pool("p", {.count = 256, .cache_size = 32});
    member_process old{"old"};
    old.tell("take p 30");
    old.tell("offer ping");
    const auto epoch = with.domain->region().header.epoch.load();
    with.kill_daemon();

    auto daemon = domain_with_daemon::start_daemon({"--adopt"});

    CHECK(with.domain->region().header.epoch.load() == epoch + 1);
    REQUIRE(eventually([&] { return with.domain->primary_alive(); }));
    member_process fresh{"fresh"};
    fresh.tell("offer-relay relay old");
    auto& actions = with.domain->actions();
    CHECK(actions.request(*actions.find_member("fresh"), "relay", "", 10s).text() ==
          "relayed pong ");
    old.kill();
    fresh.kill();
    REQUIRE(eventually([&] { return pool.objects().available() == 256; }));
    CHECK(audit(audited(with.domain->region())).clean());
}

TEST_CASE("a new primary with another layout is refused, and the data path does not notice",
          "[adoption]")
{
    domain_with_daemon with;
    auto numbers = with.domain->create_ring<int>("numbers", 8);
    member_process other{"other"};
    other.tell("offer ping");
    with.kill_daemon();
    auto& layout = with.domain->region().header.layout_hash;
    const auto works = [&] {
        int number = 0;
        return numbers.enqueue(1) && numbers.dequeue(number) &&
               with.domain->actions().request(ipc::target{"other"}, "ping", "x", patience).text() ==
                   "pong x";
    };

    change_in_passing(layout);  // as if all had been built with another one
    try {
        static_cast<void>(
            primary::start({.name = "scratch", .existing = primary::takeover::adopt}));
        FAIL("it was adopted");
    } catch (const error& refused) {
        CHECK(refused.reason() == errc::layout_mismatch);
    }

    CHECK(works());
    CHECK(with.domain->region().recovery.deaths.load() == 1);  // the first primary's
    change_in_passing(layout);
    auto daemon = domain_with_daemon::start_daemon({"--adopt"});
    CHECK(works());
    CHECK(eventually([&] { return with.domain->primary_alive(); }));
}

TEST_CASE("an adopting primary is not delayed by a member that is stopped", "[adoption]")
{
    domain_with_daemon with;
    member_process sleeper{"sleeper"};
    stop(sleeper.process());
    with.kill_daemon();

    auto daemon = domain_with_daemon::start_daemon();

    REQUIRE(eventually([&] { return with.domain->primary_alive(); }));
    sleeper.process().kill(SIGCONT);
    sleeper.tell("offer ping");
    CHECK(with.domain->actions()
              .request(*with.domain->actions().find_member("sleeper"), "ping", "", 10s)
              .what == ipc::verdict::replied);
}

TEST_CASE("fresh refuses while members of a dead primary live, adopt refuses when there are none",
          "[adoption]")
{
    domain_with_daemon with;
    with.kill_daemon();

    CHECK_THROWS_WITH(primary::start({.name = "scratch", .existing = primary::takeover::fresh}),
                      Catch::Contains("still has members"));
    CHECK_THROWS_WITH(primary::start({.name = "other", .existing = primary::takeover::adopt}),
                      Catch::Contains("nothing to adopt"));
}

TEST_CASE("when everybody is dead the next start of the name begins afresh", "[adoption]")
{
    test::scratch_runtime_directory directory;
    for (int round = 0; round != 5; ++round) {
        auto daemon = domain_with_daemon::start_daemon({"--fresh"});
        member_process member{"member"};
        member.kill();
        daemon.kill();
        REQUIRE(daemon.wait(patience));
    }
}
