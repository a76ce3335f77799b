// Equal processes, of which the first is to be the primary.

#include "cohort/ipc/start_or_attach.hpp"

#include "cohort/primary/primary.hpp"
#include "process/living_domain.hpp"
#include "support/scratch_directory.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// All told to go before the first has had the time to.
std::vector<child_process> start_at_once(std::size_t count)
{
    std::vector<child_process> joiners;
    for (std::size_t i = 0; i != count; ++i) {
        joiners.push_back(child_process::spawn("joiner", {"equals"}));
        joiners.back().await("ready", patience);
    }
    for (auto& joiner : joiners)
        joiner.tell("go");
    return joiners;
}

std::vector<std::string> roles_of(std::vector<child_process>& joiners)
{
    std::vector<std::string> roles;
    for (auto& joiner : joiners)
        roles.push_back(joiner.read_line(patience).value_or("nothing"));
    return roles;
}

ipc::started_or_attached join_within(steady_clock::duration timeout, int& starts, errc refusal)
{
    return ipc::start_or_attach(
        [&](auto) -> std::unique_ptr<primary::owner> {
            ++starts;
            throw error{refusal, "as the test wants it"};
        },
        [](auto) -> std::unique_ptr<secondary::attachment> {
            throw error{errc::no_such_domain, "nobody is there"};
        },
        timeout);
}

}  // namespace

TEST_CASE("of eight processes that start or attach at once one is the primary and seven attach",
          "[start][race]")
{
    const scratch_runtime_directory directory;
    auto joiners = start_at_once(8);

    const auto roles = roles_of(joiners);

    CHECK(std::count(roles.begin(), roles.end(), "primary") == 1);
    CHECK(std::count(roles.begin(), roles.end(), "secondary") == 7);
    CHECK(live_members(secondary::observe("equals", patience).region()) == 8);
}

TEST_CASE("a process that starts or attaches after the primary was killed adopts the members",
          "[start][adoption]")
{
    const scratch_runtime_directory directory;
    auto joiners = start_at_once(8);
    const auto roles = roles_of(joiners);
    const auto first = std::find(roles.begin(), roles.end(), "primary");
    REQUIRE(first != roles.end());
    auto& killed = joiners[static_cast<std::size_t>(first - roles.begin())];
    killed.kill();
    REQUIRE(killed.wait(patience) == exit_status{.code = 0, .signal = SIGKILL});

    auto ninth = start_at_once(1);

    CHECK(roles_of(ninth) == std::vector<std::string>{"adopter"});
    auto tenth = start_at_once(1);
    CHECK(roles_of(tenth) == std::vector<std::string>{"secondary"});
}

TEST_CASE("starting or attaching tries again until its deadline while another primary lives, and "
          "passes other errors on at once",
          "[start]")
{
    int starts = 0;

    CHECK_THROWS_WITH(join_within(20ms, starts, errc::domain_alive), "as the test wants it");
    CHECK(starts > 1);
    starts = 0;
    CHECK_THROWS_WITH(join_within(1h, starts, errc::no_memory), "as the test wants it");
    CHECK(starts == 1);
}

}  // namespace cohort::test
