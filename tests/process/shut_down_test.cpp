// A primary that ends in an orderly way, and what members make of it.

#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"

#include <filesystem>

#include <catch2/catch.hpp>

namespace cohort::test {

TEST_CASE("a primary that shuts down asks its members to leave and waits until they have",
          "[shutdown]")
{
    scratch_runtime_directory directory;
    auto daemon = start_cohortd("scratch", {"--shut-down", "30"});
    member_process one{"one"};
    member_process two{"two"};
    one.start("await-shut-down");
    two.start("await-shut-down");
    one.process().await("waiting", patience);
    two.process().await("waiting", patience);

    daemon.kill(SIGTERM);

    CHECK(one.process().wait(patience) == exit_status{});
    CHECK(two.process().wait(patience) == exit_status{});
    CHECK(daemon.wait(patience) == exit_status{});
    CHECK(std::filesystem::is_empty(directory.path()));
}

TEST_CASE("members that stay past the deadline are named and carry on, and newcomers are refused",
          "[shutdown]")
{
    scratch_domain domain;
    member_process staying{"staying"};
    staying.tell("offer ping");

    CHECK(domain->shut_down(deadline_in(10ms)) == std::vector<std::string>{"staying"});

    CHECK_THROWS_WITH(secondary::attach("scratch", patience, "late"),
                      Catch::Contains("shuts the domain down"));
    auto& actions = domain->actions();
    CHECK(actions.request(*actions.find_member("staying"), "ping", "", 10s).text() == "pong ");
    staying.leave();
    CHECK(domain->shut_down(deadline_in(patience)).empty());
}

TEST_CASE("cohortd that is asked to shut down says which members stayed", "[shutdown]")
{
    scratch_runtime_directory directory;
    attempt daemon{
        "cohortd",
        {"--domain", "scratch", "--memory", "8M", "--huge", "none", "--shut-down", "0.01"}};
    REQUIRE(daemon.child().read_line(patience));
    const auto member = secondary::attach("scratch", patience, "stayer");

    daemon.child().kill(SIGTERM);
    const auto seen = daemon.wait();

    CHECK(seen.status == exit_status{.code = 1, .signal = 0});
    CHECK_THAT(seen.sentence, Catch::Contains("1 members") && Catch::Contains("stayer"));
    auto next = start_cohortd("scratch", {"--auto"});
    CHECK(eventually([&] { return member->primary_alive(); }));
}

}  // namespace cohort::test
