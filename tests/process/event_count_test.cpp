// What a listener that looks seldom has missed: each of it is counted.

#include "cohort/ipc/events.hpp"
#include "process/living_domain.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <csignal>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using ipc::domain_event;
using ipc::event_kind;
using test::member_process;
using test::scratch_domain;

TEST_CASE("what came and went between two looks is counted exactly", "[actions][events]")
{
    scratch_domain domain;
    ipc::event_watch watch{domain->region()};
    std::vector<domain_event> found;
    const auto look = [&] {
        found.clear();
        watch.look([&](const domain_event& event) {
            if (event.name == "flicker")
                found.push_back(event);
        });
        return found.size();
    };
    domain->reserve_memzone("flicker", 4096);
    REQUIRE(look() == 1);

    for (int i = 0; i != 10; ++i) {
        domain->release_memzone("flicker");
        domain->reserve_memzone("flicker", 4096);
    }

    REQUIRE(look() >= 2);
    CHECK(found.front().what == event_kind::object_destroyed);
    CHECK(found.back().what == event_kind::object_created);
    CHECK(watch.lost() + found.size() == 20);
    CHECK(look() == 0);
}

TEST_CASE("memory that grew and shrank several times between two looks is counted exactly",
          "[actions][events]")
{
    scratch_domain domain;
    ipc::event_watch watch{domain->region()};
    std::vector<domain_event> found;
    const auto look = [&] {
        found.clear();
        return watch.look([&](const domain_event& event) {
            if (event.what == event_kind::memory_grown || event.what == event_kind::memory_shrunk)
                found.push_back(event);
        });
    };
    const auto& list = domain->region().memory.lists[0];
    const auto steps = [&] { return list.growths.load() + list.give_backs.load(); };
    const auto before = steps();

    std::vector<std::string> spans;
    while (steps() < before + 3) {
        spans.push_back("span " + std::to_string(spans.size()));
        domain->reserve_memzone(spans.back(), 6_MiB);
    }
    look();

    REQUIRE(found.size() == 1);
    CHECK(found[0].what == event_kind::memory_grown);
    CHECK(found[0].lost == steps() - before - 1);

    const auto grown = steps();
    for (int round = 0; round != 3; ++round) {  // in between it is as it was
        domain->release_memzone(spans.back());
        domain->give_back_memory();
        domain->reserve_memzone(spans.back(), 6_MiB);
    }
    REQUIRE(steps() > grown + 3);
    const auto there = list.published.load();
    const auto lost = watch.lost();
    const std::uint64_t of_zone = 6;  // it went and came
    CHECK(look() + watch.lost() - lost == steps() - grown + of_zone);

    const auto before_end = steps();
    for (const auto& name : spans | std::views::reverse) {
        domain->release_memzone(name);
        domain->give_back_memory();
    }
    REQUIRE(steps() > before_end + 1);
    REQUIRE(list.published.load() < there);
    look();
    REQUIRE(found.size() == 1);
    CHECK(found[0].what == event_kind::memory_shrunk);
    CHECK(found[0].lost == steps() - before_end - 1);
}

TEST_CASE("memory that is as it was at the last look lost what happened in between",
          "[actions][events]")
{
    scratch_domain domain;
    const auto& list = domain->region().memory.lists[0];
    const auto steps = [&] { return list.growths.load() + list.give_backs.load(); };
    domain->give_back_memory();
    ipc::event_watch watch{domain->region()};
    const auto there = list.published.load();
    const auto before = steps();

    domain->reserve_memzone("large", 64_MiB);
    domain->release_memzone("large");
    domain->give_back_memory();
    REQUIRE(list.published.load() == there);
    REQUIRE(steps() >= before + 2);

    std::size_t seen = 0;
    watch.look([&](const domain_event& event) {
        seen += event.what == event_kind::memory_grown || event.what == event_kind::memory_shrunk;
    });
    CHECK(seen == 0);
    const std::uint64_t of_zone = 2;  // it came and went
    CHECK(watch.lost() == steps() - before + of_zone);
}

TEST_CASE("what a handler that throws is not told counts as lost", "[actions][events]")
{
    scratch_domain domain;
    ipc::event_watch hears{domain->region()};
    ipc::event_watch throws{domain->region()};
    domain->reserve_memzone("flicker", 4096);
    domain->release_memzone("flicker");
    domain->reserve_memzone("flicker", 4096);
    domain->reserve_memzone("steady", 4096);

    const auto told = hears.look([](const domain_event&) {});
    CHECK_THROWS_AS(throws.look([](const domain_event&) { throw std::runtime_error{"full"}; }),
                    std::runtime_error);

    REQUIRE(told >= 2);
    CHECK(hears.lost() == 2);  // "flicker", once
    CHECK(throws.lost() == told + hears.lost());
    CHECK(throws.look([](const domain_event&) {}) == 0);
}

TEST_CASE("what is on its way at the first look makes no losses", "[actions][events]")
{
    scratch_domain domain;
    for (int round = 0; round != 5; ++round) {
        domain->reserve_memzone("again", 4096);
        domain->release_memzone("again");
        member_process{"m"}.leave();
    }
    ipc::event_watch watch{domain->region()};
    domain->reserve_memzone("again", 4096);
    const member_process m{"m"};
    std::uint64_t lost = 0;
    CHECK(watch.look([&](const domain_event& event) { lost += event.lost; }) >= 2);
    CHECK(lost == 0);
    CHECK(watch.lost() == 0);
}

TEST_CASE("a member on its way at the first look joins at a later one and makes no losses",
          "[actions][events]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    scratch_domain domain;
    member_process{"before"}.leave();  // its slot has been used
    auto joining = test::child_process::spawn("member", {"scratch", "late"},
                                              {"COHORT_FAULT=member.before_live:1:stop"});
    test::await_stop(joining);
    ipc::event_watch watch{domain->region()};
    joining.kill(SIGCONT);
    joining.await("ready", test::patience);

    std::vector<domain_event> found;
    watch.look([&](const domain_event& event) { found.push_back(event); });
    REQUIRE(!found.empty());
    CHECK(found.front().what == event_kind::member_joined);
    CHECK(found.front().name == "late");
    CHECK(watch.lost() == 0);
}

TEST_CASE("primaries that came and went between two looks are counted exactly", "[actions][events]")
{
    test::living_domain domain;
    const auto member = secondary::attach(domain.name(), test::patience, "listener");
    ipc::event_watch watch{member->region()};
    for (int round = 0; round != 3; ++round) {
        domain.primary().kill();
        domain.follow(test::start_cohortd(domain.name()));
    }

    std::vector<domain_event> found;
    watch.look([&](const domain_event& event) {
        if (event.what == event_kind::primary_lost || event.what == event_kind::primary_back)
            found.push_back(event);
    });

    REQUIRE(found.size() == 2);
    CHECK(found[0].what == event_kind::primary_lost);
    CHECK(found[0].lost == 0);
    CHECK(found[1].what == event_kind::primary_back);
    CHECK(found[1].lost == 4);
    CHECK(found[1].name == "cohortd");
}
