// What a newcomer is refused for, with a domain that lives: each its own sentence and exit code,
// and the domain is afterwards, byte for byte, what it was before.

#include "cohort/base/error.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/wire.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <sys/stat.h>
#include <unistd.h>

namespace cohort::test {
namespace {

struct refusal {
    std::string_view name;
    errc code;
    std::function<attempt::result(living_domain&)> arrange;
    std::vector<std::string> says;
};

/// The members that `cohort ps` names.
std::size_t members_shown(const std::string& domain)
{
    auto tool = child_process::spawn("cohort", {"--domain", domain, "ps"});
    std::size_t lines = 0;
    while (tool.read_line(patience))
        ++lines;
    REQUIRE(tool.wait(patience) == exit_status{});
    return lines - 1;  // the heading
}

/// Runs one row of a table.
void check(const refusal& row)
{
    living_domain domain;
    const auto watcher = domain.observe();
    const auto before = bytes_of(watcher.region());

    const auto seen = row.arrange(domain);

    check_refused(seen, row.code, row.says);
    CHECK(first_difference(before, bytes_of(watcher.region())) == std::nullopt);
    CHECK(members_shown(domain.name()) == 1);
    CHECK(run(probe, {domain.name(), "1"}).status == exit_status{});
}

const std::vector<refusal> refusals{
    {"the window is taken by another mapping",
     errc::window_taken,
     [](living_domain& domain) {
         return run(probe, {domain.name(), "1", "--occupy", "550000100000"});
     },
     {"0x550000000000-0x551000000000", "is taken in this process by \"550000100000-550000101000"}},
    {"the process locks its future mappings",
     errc::no_memory,
     [](living_domain& domain) {
         return run(probe, {domain.name(), "1", "--lock-future"});
     },
     {"mlockall(MCL_FUTURE)", "call it with MCL_ONFAULT"}},
    {"the name of the member is too long",
     errc::name_too_long,
     [](living_domain& domain) {
         return run(probe, {domain.name(), "1", "--name", std::string(64, 'm')});
     },
     {"has 64 characters", "at most 63 fit"}},
    {"the primary is stopped",
     errc::timed_out,
     [](living_domain& domain) {
         stop(domain.primary());
         const auto seen = run(probe, {domain.name(), "1", "--timeout-ms", "300"});
         domain.primary().kill(SIGCONT);
         CHECK(seen.took >= 300ms);
         return seen;
     },
     {"did not answer in time", "stopped"}},
    {"a second primary",
     errc::domain_alive,
     [](living_domain& domain) {
         const auto pid = fmt::format("pid {};", domain.primary().pid());
         auto seen = run("cohortd", {"--domain", domain.name()});
         CHECK_THAT(seen.sentence, Catch::Contains(pid));
         return seen;
     },
     {"domain \"alive\" has a live primary", "attach to it or stop it first"}},
    {"a second primary that would adopt",
     errc::domain_alive,
     [](living_domain& domain) {
         return run("cohortd", {"--domain", domain.name(), "--adopt"});
     },
     {"has a live primary"}},
    {"others may write to the rendezvous directory",
     errc::wrong_owner,
     [](living_domain& domain) {
         ::chmod(domain.directory().c_str(), 0777);
         auto seen = run(probe, {domain.name(), "1"});
         ::chmod(domain.directory().c_str(), 0700);
         return seen;
     },
     {"mode 0777", "open to other writers", "chmod 0700"}},
    {"the group may write to the rendezvous directory",
     errc::wrong_owner,
     [](living_domain& domain) {
         ::chmod(domain.directory().c_str(), 0770);
         auto seen = run("cohort", {"--domain", domain.name(), "ps"});
         ::chmod(domain.directory().c_str(), 0700);
         return seen;
     },
     {"mode 0770", "open to other writers"}},
    {"there is no domain of that name",
     errc::no_such_domain,
     [](living_domain&) {
         return run("cohort", {"--domain", "elsewhere", "ps"});
     },
     {"there is no domain \"elsewhere\"", "start a primary with cohortd"}},
    {"the name of the domain is too long",
     errc::name_too_long,
     [](living_domain&) {
         return run(probe, {std::string(33, 'd'), "1"});
     },
     {"has 33 characters", "at most 32 fit"}},
    {"the name of the domain leads elsewhere",
     errc::invalid_argument,
     [](living_domain&) {
         return run(probe, {"../alive", "1"});
     },
     {"\"../alive\"", "letters, digits"}},
};

const std::vector<refusal> table_for_root{
    {"the rendezvous directory belongs to somebody else",
     errc::wrong_owner,
     [](living_domain& domain) {
         REQUIRE(::chown(domain.directory().c_str(), somebody_else, somebody_else) == 0);
         auto seen = run(probe, {domain.name(), "1"});
         REQUIRE(::chown(domain.directory().c_str(), 0, 0) == 0);
         return seen;
     },
     {"belongs to uid 65534 but this process runs as uid 0", "COHORT_RUNTIME_DIR"}},
    {"the newcomer is somebody else",
     errc::wrong_owner,
     [](living_domain& domain) {
         ::chmod(domain.root().c_str(), 0755);
         return run(probe, {domain.name(), "1", "--uid", "65534"});
     },
     {"belongs to uid 0 but this process runs as uid 65534"}},
    {"the newcomer may not even look",
     errc::no_permission,
     [](living_domain& domain) {
         return run(probe, {domain.name(), "1", "--uid", "65534"});
     },
     {"cannot look at", "Permission denied (EACCES)"}},
};

}  // namespace

TEST_CASE("a refused newcomer gets its own sentence and exit code, and the domain stays as it was",
          "[attach][refusal]")
{
    for (const auto& row : refusals)
        DYNAMIC_SECTION(row.name)
        {
            check(row);
        }
}

TEST_CASE("a newcomer with the wrong rights is refused and the domain stays as it was",
          "[attach][refusal]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, "root");
    for (const auto& row : table_for_root)
        DYNAMIC_SECTION(row.name)
        {
            check(row);
        }
}

TEST_CASE("an attach without enough address space names the limit", "[attach][refusal]")
{
    COHORT_SKIP_UNLESS(!slow_sanitizer, "a build without shadow memory");
    check({"",
           errc::no_memory,
           [](living_domain& domain) {
               const lowered_limit little{RLIMIT_AS, 4_GiB};
               return run(probe, {domain.name(), "1"});
           },
           {"64 GiB of address space", "RLIMIT_AS"}});
}

TEST_CASE("when all member slots are taken the next one is refused until a member leaves",
          "[attach][refusal]")
{
    const living_domain domain;
    std::vector<child_process> members;
    for (std::size_t slot = 2; slot != max_members; ++slot) {
        members.push_back(child_process::spawn(probe, {domain.name(), "1", "--hold"}));
        members.back().await("attached", patience);
    }
    const auto watcher = domain.observe();
    REQUIRE(eventually([&] { return is_settled(watcher.region()); }));
    const auto before = bytes_of(watcher.region());

    const auto refused = run(probe, {domain.name(), "1"});

    check_refused(refused, errc::no_space, {"all 63 member slots of domain \"alive\" are taken"});
    CHECK(first_difference(before, bytes_of(watcher.region())) == std::nullopt);
    members.front().tell("leave");
    REQUIRE(members.front().wait(patience) == exit_status{});
    CHECK(run(probe, {domain.name(), "1"}).status == exit_status{});
}

}  // namespace cohort::test
