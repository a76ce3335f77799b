// A process is killed at each fault point of a pool that grows, and so is the reaper of such a one:
// the pool is sound, takes up where it was, and no memory is lost.

#include "fault/faulty_domain.hpp"
#include "fault/sweep.hpp"
#include "support/skip.hpp"

#include <optional>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// After the death the same runs through: it takes up what was left of the pool and ends it.
void check_successor(faulty_domain& domain)
{
    {
        const auto seen = secondary::observe(domain.name, patience);
        REQUIRE(eventually([&] { return live_members(seen.region()) == 2; }));
    }
    CHECK(domain.spawn({"pools"}).wait(patience) == exit_status{});
    domain.check_survivors();
    const auto seen = secondary::observe(domain.name, patience);
    for_each_used(seen.region().memory, [](const auto& zone) {
        CHECK((zone.kind != zone_kind::pool_chunk || zone.word().state == zone_state::empty));
    });
}

std::optional<exit_status> kill_while_a_pool_grows(const std::string& fault)
{
    faulty_domain domain;
    domain.bring_to_life();
    const auto ended = domain.spawn({"pools"}, fault).wait(patience);
    check_successor(domain);
    domain.check_next_start();
    return ended;
}

/// Of a member that died when its chunk was listed and the entry of that was not finished.
std::optional<exit_status> kill_the_reaper_of_a_grower(const std::string& fault)
{
    faulty_domain domain;
    domain.bring_to_life();
    auto grower = domain.spawn({"grow"}, "pool.chunk_listed:1");
    grower.await("ready", patience);
    auto reaper = domain.spawn({"reap"}, fault);
    reaper.await("ready", patience);
    domain.stop_all();
    grower.tell("go");
    const auto ended = reaper.wait(patience);
    domain.continue_all();
    check_successor(domain);
    domain.check_next_start();
    return ended;
}

}  // namespace

TEST_CASE("a member killed while it grows a pool leaves one that is sound and grows on", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("pools", kill_while_a_pool_grows);
}

TEST_CASE("a reaper killed while it finishes what a dead member has grown is followed by the next",
          "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("grow", kill_the_reaper_of_a_grower, 2);
}

}  // namespace cohort::test
