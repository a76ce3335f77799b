// A primary is killed while it opens its domain to a group, or closes one that was open: what is
// left is its user's alone, or the group's already, and the next start goes on.

#include "fault/faulty_domain.hpp"
#include "fault/sweep.hpp"
#include "support/skip.hpp"

#include <string>

#include <catch2/catch.hpp>

#include <sys/stat.h>

namespace cohort::test {
namespace {

mode_t mode_of(const std::filesystem::path& path)
{
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

}  // namespace

TEST_CASE("a primary killed while it opens a domain to a group leaves one that can be opened",
          "[fault][group]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("open", [](const std::string& fault) {
        faulty_domain domain;
        const auto ended = domain.spawn({"open"}, fault).wait(patience);
        if (ended != exit_status{}) {
            const auto left = mode_of(domain.root() / domain.name);
            CHECK((left == 0700 || left == 02770));
            CHECK((left == 0700 || mode_of(domain.root() / domain.name / "lock") == 0660));
            CHECK(domain.spawn({"open"}).wait(patience) == exit_status{});
        }
        domain.check_next_start();
        return ended;
    });
}

TEST_CASE("a primary killed while it closes a domain leaves it to its user alone", "[fault][group]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("close", [](const std::string& fault) {
        faulty_domain domain;
        REQUIRE(domain.spawn({"open"}, "primary.live:1").wait(patience) != exit_status{});
        REQUIRE(mode_of(domain.root() / domain.name) == 02770);
        const auto ended = domain.spawn({"start"}, fault).wait(patience);
        if (ended != exit_status{})
            CHECK(mode_of(domain.root() / domain.name) == 0700);
        domain.check_next_start();
        return ended;
    });
}

}  // namespace cohort::test
