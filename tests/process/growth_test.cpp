// A member whose own limits do not allow it to grow the domain: it is told so, it lives on, and
// others may grow it.

#include "process/living_domain.hpp"
#include "support/member_process.hpp"
#include "support/memory_cgroup.hpp"
#include "support/skip.hpp"

#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// What the member answers: "done", or "failed: why".
std::string answer_to(member_process& member, const std::string& command)
{
    member.start(command);
    return member.process().read_line(patience).value_or("nothing: it ended");
}

}  // namespace

TEST_CASE("a growth beyond the limit of file sizes is refused and kills nobody", "[memory][growth]")
{
    const living_domain domain;
    member_process limited{"limited", domain.name()};
    member_process other{"other", domain.name()};
    limited.tell("limit-files 10485760");

    const auto refusal = answer_to(limited, "grow large 33554432");

    CHECK_THAT(refusal, Catch::Contains("failed: a file of") &&
                            Catch::Contains("exceeds RLIMIT_FSIZE of 10 MiB; raise it"));
    limited.tell("grow small 65536");
    other.tell("grow large 33554432");
    CHECK(audit(audited(domain.observe().region())).clean());
}

TEST_CASE("of many members that reserve one name at once exactly one gets it", "[memory]")
{
    const living_domain domain;
    std::vector<std::unique_ptr<member_process>> members;
    for (int i = 0; i != 4; ++i)
        members.push_back(
            std::make_unique<member_process>("rival" + std::to_string(i), domain.name()));

    for (int round = 0; round != 50; ++round) {
        const auto name = "contended" + std::to_string(round);
        for (auto& member : members)
            member->start("grow " + name + " 262144");
        int winners = 0;
        for (auto& member : members) {
            const auto answer = member->process().read_line(patience).value_or("nothing");
            winners += answer == "done";
            CHECK((answer == "done" || answer.find("exists already") != answer.npos));
        }
        REQUIRE(winners == 1);
    }
    for (auto& member : members)
        member->leave();
}

TEST_CASE("a growth beyond the limit of a control group is refused and kills nobody",
          "[memory][growth]")
{
    const memory_cgroup group{64_MiB};
    COHORT_SKIP_UNLESS(group.available(), memory_cgroup::missing());
    const living_domain domain;
    member_process limited{"limited", domain.name()};
    member_process other{"other", domain.name()};
    REQUIRE(group.take_in(limited.process().pid()));

    const auto refusal = answer_to(limited, "grow large 134217728");

    CHECK_THAT(refusal, Catch::Contains("failed: ") &&
                            Catch::Contains("of 4 KiB pages are wanted") &&
                            Catch::Contains(group.limit_file() + " of 64 MiB allows"));
    limited.tell("grow small 16777216");
    other.tell("grow large 134217728");
    CHECK(audit(audited(domain.observe().region())).clean());
    limited.leave();
}

}  // namespace cohort::test
