// The primary is killed while members are stopped: a new primary gets hold of the region without
// their help.

#include "cohort/primary/primary.hpp"
#include "fault/faulty_domain.hpp"
#include "process/living_domain.hpp"
#include "support/hugepages.hpp"
#include "support/member_process.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <list>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

void kill_and_wait(child_process& process)
{
    process.kill();
    REQUIRE(process.wait(patience) == exit_status{.code = 0, .signal = SIGKILL});
}

/// A cohortd and two members, each holding packets; both are stopped and cohortd is dead.
class stopped_domain {
public:
    explicit stopped_domain(const std::vector<std::string>& options = {})
        : daemon_{start_cohortd(name, options)}
    {
        secondary::attach(name, patience)
            ->create_pktmbuf_pool("p", {.count = 256, .cache_size = 32});
        first.emplace("first", name);
        second.emplace("second", name);
        first->tell("take p 30");
        second->tell("take p 20");
        watcher.emplace(secondary::observe(name, patience));
        REQUIRE(eventually([&] { return is_settled(watcher->region()); }));
        epoch = watcher->region().header.epoch.load();
        stop(first->process());
        stop(second->process());
        kill_and_wait(daemon_);
    }

    static constexpr const char* name = "halted";

private:
    scratch_runtime_directory directory_;
    child_process daemon_;

public:
    std::optional<member_process> first;
    std::optional<member_process> second;
    std::optional<secondary::observer> watcher;
    std::uint32_t epoch = 0;
};

/// Members that were stopped know the new primary, newcomers and each other; nothing is lost.
void check_that_members_carry_on(stopped_domain& domain)
{
    for (auto* member : {&*domain.first, &*domain.second})
        member->process().kill(SIGCONT);
    domain.first->tell("offer ping");
    domain.second->tell("offer-relay relay first");
    member_process third{"third", domain.name};
    third.tell("offer-relay again second");

    domain.watcher.reset();  // its window is the one that this process attaches at
    const auto self = secondary::attach(domain.name, patience);
    auto& actions = self->actions();
    CHECK(actions.request(*actions.find_member("second"), "relay", "", patience).text() ==
          "relayed pong ");
    CHECK(self->primary_alive());
    domain.first->kill();
    domain.second->tell("free");
    domain.second->leave();
    auto pool = self->find_pktmbuf_pool("p").value();
    CHECK(eventually([&] { return pool.objects().available() == 256; }));
    CHECK(audit(audited(self->region())).clean());
}

}  // namespace

TEST_CASE("a new primary adopts a domain whose members are all stopped", "[adoption][stop]")
{
    stopped_domain domain;

    auto next = start_cohortd(domain.name, {"--adopt"});

    CHECK(domain.watcher->region().header.epoch.load() == domain.epoch + 1);
    // Itself and the two that are stopped; the dead primary is reaped without them.
    CHECK(eventually([&] { return live_members(domain.watcher->region()) == 3; }));
    CHECK(is_stopped(domain.first->process().pid()));
    check_that_members_carry_on(domain);
}

TEST_CASE("a domain adopted from stopped members lives until the last of them is gone",
          "[adoption][stop]")
{
    stopped_domain domain;
    auto next = start_cohortd(domain.name, {"--adopt"});
    {
        member_process newcomer{"newcomer", domain.name};
        kill_and_wait(next);
        domain.first->kill();
        domain.second->kill();

        CHECK_THROWS_WITH(
            primary::start({.name = domain.name, .existing = primary::takeover::fresh}),
            Catch::Contains("still has members"));
        auto after = start_cohortd(domain.name, {"--adopt"});
        CHECK(eventually([&] { return live_members(domain.watcher->region()) == 2; }));
        CHECK(audit(audited(domain.watcher->region())).clean());
        kill_and_wait(after);
        newcomer.kill();
    }
    CHECK_NOTHROW(start_cohortd(domain.name, {"--fresh"}));
}

TEST_CASE("many stopped members delay an adopting primary no more than one", "[adoption][stop]")
{
    stopped_domain domain;
    auto again = start_cohortd(domain.name, {"--adopt"});
    std::list<member_process> more;
    for (int i = 0; i != 8; ++i)
        stop(more.emplace_back("more" + std::to_string(i), domain.name).process());
    kill_and_wait(again);
    domain.watcher.reset();  // its window is the one that this process adopts

    // Asked one after the other, the ten would take longer than this to not answer.
    const auto adopted =
        primary::start({.name = domain.name, .existing = primary::takeover::adopt, .patience = 1s});

    CHECK(adopted->adopted());
    CHECK(eventually([&] { return live_members(adopted->region()) == 11; }));
}

TEST_CASE("hugepages of stopped members are adopted as well", "[adoption][stop]")
{
    const hugepages pages{8};
    COHORT_SKIP_UNLESS(pages.available(), pages.missing());
    stopped_domain domain{{"--huge", "2M"}};

    auto next = start_cohortd(domain.name, {"--adopt"});

    check_that_members_carry_on(domain);
}

}  // namespace cohort::test
