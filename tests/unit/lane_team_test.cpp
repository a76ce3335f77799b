// Threads on pinned lanes, and variables that each lane has for itself.

#include "cohort/domain/lane_team.hpp"

#include "cohort/domain/lane_variable.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>

#include <catch2/catch.hpp>

#include <sched.h>

using namespace cohort;
using cohort::test::patience;
using cohort::test::scratch_domain;

namespace {

/// The first processor that this process may use.
int usable_cpu()
{
    cpu_set_t usable;
    CPU_ZERO(&usable);
    ::sched_getaffinity(0, sizeof usable, &usable);
    for (int cpu = 0; cpu != CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(static_cast<std::size_t>(cpu), &usable))
            return cpu;
    return 0;
}

/// `count` lcores from 0, all on one processor.
std::vector<lcore> some_lcores(unsigned count)
{
    std::vector<lcore> lcores;
    for (unsigned id = 0; id != count; ++id)
        lcores.push_back({id, {usable_cpu()}});
    return lcores;
}

}  // namespace

TEST_CASE("work runs on the lcore it was launched on, pinned, on a lane of that name", "[lanes]")
{
    scratch_domain domain;
    lane_team team{*domain, some_lcores(3)};

    team.launch(1, [&](std::stop_token) {
        CHECK(lane_team::current() == 1u);
        CHECK(domain->members().lane() == team.lane_of(1));
        CHECK(::sched_getcpu() == usable_cpu());
        return 41;
    });

    CHECK(team.wait(1, deadline_in(patience)) == 41);
    const auto& lane = domain->region().members.lanes[team.lane_of(1)];
    CHECK(lane.name.view() == "lcore-1");
    CHECK(lane.cpu == usable_cpu());
    CHECK(team.wait(0, deadline_in(patience)) == 0);  // nothing was launched there
    CHECK_FALSE(lane_team::current().has_value());
}

TEST_CASE("an lcore at work takes no other work until it has been waited for", "[lanes]")
{
    scratch_domain domain;
    lane_team team{*domain, some_lcores(2)};
    std::atomic<bool> go{false};
    team.launch(1, [&](std::stop_token) {
        while (!go)
            std::this_thread::yield();
        return 7;
    });

    CHECK_THROWS_WITH(team.launch(1, {}), Catch::Contains("lcore 1 is at work"));
    CHECK_THROWS_WITH(team.launch_all([](std::stop_token) { return 0; }),
                      Catch::Contains("lcore 1 is at work"));
    CHECK(team.state_of(0) == lane_team::state::idle);  // all or none
    CHECK_FALSE(team.wait(1, deadline_in(1ms)).has_value());
    go = true;
    REQUIRE(test::eventually([&] { return team.state_of(1) == lane_team::state::finished; }));
    CHECK_THROWS_AS(team.launch(1, {}), error);
    CHECK(team.wait(1, deadline_in(patience)) == 7);
    team.launch(1, [](std::stop_token) { return 8; });
    CHECK(team.wait(1, deadline_in(patience)) == 8);
    CHECK_THROWS_WITH(team.launch(2, {}), Catch::Contains("no lcore 2"));
}

TEST_CASE("results come by lcore, and what the work throws is thrown to who waits", "[lanes]")
{
    scratch_domain domain;
    lane_team team{*domain, some_lcores(3)};

    team.launch_all([](std::stop_token) { return static_cast<int>(*lane_team::current()) * 10; });
    CHECK(team.wait_all(deadline_in(patience)) == std::vector{0, 10, 20});

    team.launch(2, [](std::stop_token) -> int { throw std::runtime_error{"no route"}; });
    CHECK_THROWS_WITH(team.wait(2, deadline_in(patience)), "no route");
    team.launch(2, [](std::stop_token) { return 1; });
    CHECK(team.wait(2, deadline_in(patience)) == 1);
}

TEST_CASE("a team that ends asks its work to stop and gives its lanes back", "[lanes]")
{
    scratch_domain domain;
    std::set<lane_id> lanes;
    std::atomic<int> stopped{0};
    {
        lane_team team{*domain, some_lcores(4)};
        for (const auto& each : team.lcores())
            lanes.insert(team.lane_of(each.id));
        team.launch_all([&](std::stop_token stop) {
            while (!stop.stop_requested())
                std::this_thread::yield();
            return ++stopped;
        });
    }
    CHECK(stopped == 4);
    CHECK(lanes.size() == 4);
    for (const auto lane : lanes)
        CHECK(domain->region().members.lanes[lane].word().state == lane_state::free);
}

TEST_CASE("a team on a processor that this process may not use is refused whole", "[lanes]")
{
    scratch_domain domain;
    auto lcores = some_lcores(2);
    lcores.push_back({2, {usable_cpu(), static_cast<int>(max_lcore_cpu)}});

    CHECK_THROWS_WITH((lane_team{*domain, lcores}),
                      Catch::Contains("lcore 2") && Catch::Contains("processor 1023"));
    CHECK_THROWS_AS((lane_team{*domain, {}}), error);
    domain->members().members().for_each_lane_of(
        domain->self().id, [](lane_id, lane_layout& lane, lane_word) {
            CHECK_FALSE(lane.name.view().starts_with("lcore"));
        });
}

TEST_CASE("processes that use the same lcores share no slot of a lane variable", "[lanes]")
{
    constexpr std::uint64_t count = 20'000;
    scratch_domain domain;
    auto sums = lane_variable<std::uint64_t>::create(*domain, "sums");
    test::member_process one{"one"};
    test::member_process two{"two"};
    const std::string command = "team (0-3)@" + std::to_string(usable_cpu()) + " sums ";

    one.start(command + std::to_string(count));
    two.start(command + std::to_string(count));
    one.await_done();
    two.await_done();

    std::uint64_t sum = 0;
    sums.for_each([&](lane_id, std::uint64_t& each) { sum += each; });
    CHECK(sum == 8 * count);
    struct large {
        std::uint64_t words[9];
    };
    CHECK_THROWS_WITH(lane_variable<large>::find(*domain, "sums"), Catch::Contains("\"sums\""));
    CHECK_FALSE(lane_variable<int>::find(*domain, "others").has_value());
}
