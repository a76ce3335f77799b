// What is left when every process of a domain has been killed: a directory with sockets and a lock
// file, which the next start of the name clears away.

#include "cohort/base/bits.hpp"
#include "cohort/memory/page_size.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "support/hugepages.hpp"
#include "support/skip.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <sys/stat.h>
#include <unistd.h>

namespace cohort::test {
namespace {

std::set<std::string> names_in(const std::filesystem::path& directory)
{
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{directory})
        names.insert(entry.path().filename());
    return names;
}

/// Slots of members that live, join, or are being reaped.
std::ptrdiff_t taken_slots(const region_layout& region)
{
    return std::count_if(
        std::begin(region.members.members), std::end(region.members.members),
        [](const auto& member) { return member.word().state != member_state::empty; });
}

/// A primary, two secondaries and an observer, then all of them killed, the primary first.
void live_and_be_killed(const std::vector<std::string>& primary_options)
{
    std::vector<child_process> all;
    all.push_back(start_cohortd("doomed", primary_options));
    for (const auto* as : {"--hold", "--hold", "--observe"}) {
        all.push_back(child_process::spawn(probe, {"doomed", "1", "--hold", as}));
        all.back().await("attached", patience);
    }
    for (auto& process : all)
        process.kill();
    for (auto& process : all)
        REQUIRE(process.wait(patience) == exit_status{.code = 0, .signal = SIGKILL});
}

}  // namespace

TEST_CASE("a domain whose processes are all killed leaves sockets and a lock file and nothing else",
          "[cleanup]")
{
    const scratch_runtime_directory directory;
    const auto place = directory.path() / "doomed";
    const auto objects = shared_memory_objects();

    live_and_be_killed({});

    CHECK(await_no_new_object(objects));
    CHECK(names_in(directory.path()) == std::set<std::string>{"doomed"});
    CHECK(names_in(place) == std::set<std::string>{"lock", "member-1.sock", "member-2.sock",
                                                   "member-3.sock", "primary.sock"});
    for (const auto& entry : std::filesystem::directory_iterator{place})
        CHECK((entry.is_socket() || entry.file_size() < 256));
    CHECK_FALSE(secondary::primary_alive("doomed"));
    check_refused(run(probe, {"doomed", "1"}), errc::no_such_domain, {"nobody listens at"});
    check_refused(run("cohort", {"--domain", "doomed", "ps"}), errc::no_such_domain,
                  {"nobody listens at"});
}

TEST_CASE("the next start of a name whose processes were killed needs no help", "[cleanup]")
{
    const scratch_runtime_directory directory;
    const auto place = directory.path() / "doomed";
    const auto objects = shared_memory_objects();

    for (int round = 0; round != 5; ++round)
        live_and_be_killed({});

    auto next = start_cohortd("doomed");
    CHECK(names_in(place) == std::set<std::string>{"lock", "member-1.sock", "primary.sock"});
    CHECK(live_members(secondary::observe("doomed", patience).region()) == 1);
    CHECK(run(probe, {"doomed", "3"}).status == exit_status{});
    CHECK(run("cohort", {"--domain", "doomed", "audit"}).status == exit_status{});
    next.kill(SIGTERM);
    REQUIRE(next.wait(patience) == exit_status{});
    CHECK(names_in(directory.path()).empty());
    CHECK(await_no_new_object(objects));
}

TEST_CASE("a primary that ends takes away the sockets of members that were killed before",
          "[cleanup]")
{
    const scratch_runtime_directory directory;
    const auto place = directory.path() / "doomed";
    auto primary = start_cohortd("doomed");
    for (int i = 0; i != 2; ++i) {
        auto member = child_process::spawn(probe, {"doomed", "1", "--hold"});
        member.await("attached", patience);
        member.kill();
        REQUIRE(member.wait(patience) == exit_status{.code = 0, .signal = SIGKILL});
    }
    {
        const auto seen = secondary::observe("doomed", patience);
        REQUIRE(eventually([&] { return taken_slots(seen.region()) == 1; }));
    }
    REQUIRE(names_in(place).count("member-2.sock") == 1);

    primary.kill(SIGTERM);

    REQUIRE(primary.wait(patience) == exit_status{});
    CHECK(names_in(directory.path()).empty());
}

TEST_CASE("a region file caught by a kill before it lost its name is removed by the next start",
          "[cleanup]")
{
    // Arrange what a kill between shm_open and shm_unlink leaves.
    const scratch_runtime_directory directory;
    const auto place = (directory.path() / "doomed").string();
    const auto objects = shared_memory_objects();
    const std::filesystem::path left =
        fmt::format("/dev/shm/cohort-{}-{:016x}", ::geteuid(), fnv1a(place.data(), place.size()));
    std::ofstream{left}.flush();

    const auto next = start_cohortd("doomed");

    CHECK_FALSE(std::filesystem::exists(left));
    CHECK(await_no_new_object(objects));
}

TEST_CASE("hugepages of a domain whose processes are all killed are free again", "[cleanup]")
{
    const hugepages pages{8};
    COHORT_SKIP_UNLESS(pages.available(), pages.missing());
    const scratch_runtime_directory directory;
    const auto before = available_bytes(page_size::huge_2m);

    live_and_be_killed({"--huge", "2M"});

    CHECK(eventually([&] { return available_bytes(page_size::huge_2m) == before; }));
    const auto next = start_cohortd("doomed", {"--huge", "2M"});
    CHECK(available_bytes(page_size::huge_2m) == before - 8_MiB);
}

TEST_CASE("what lies in the place of the lock file and is none is named", "[start][refusal]")
{
    const scratch_runtime_directory directory;
    const auto place = directory.path() / "fresh";
    std::filesystem::create_directory(place);
    ::chmod(place.c_str(), 0700);

    SECTION("a directory")
    {
        REQUIRE(std::filesystem::create_directory(place / "lock"));
    }
    SECTION("a pipe")
    {
        REQUIRE(::mkfifo((place / "lock").c_str(), 0600) == 0);
    }
    SECTION("a link")
    {
        REQUIRE(::symlink("elsewhere", (place / "lock").c_str()) == 0);
    }
    const auto seen = run("cohortd", {"--domain", "fresh", "--huge", "none"});

    check_refused(seen, errc::wrong_owner, {"/fresh/lock is no regular file", "remove it"});
}

}  // namespace cohort::test
