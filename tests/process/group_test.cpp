// A domain that is open to a group: processes of several users take part, and nobody else.

#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/telemetry.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "support/skip.hpp"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cohort::test {
namespace {

using words = std::vector<std::string>;

constexpr auto needs_root = "root, to act as several users";
const words group{"--group", "4242"};

/// Arguments of a probe that is another user, in the group.
words as_user(const std::string& uid, words more = {})
{
    words all{"shared", "1", "--group", "4242", "--uid", uid};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

/// This process as another user, of two groups. REQUIRES: root.
class as_other_user {
public:
    as_other_user(uid_t user, gid_t first, gid_t other)
    {
        before_.resize(static_cast<std::size_t>(::getgroups(0, nullptr)));
        REQUIRE(::getgroups(static_cast<int>(before_.size()), before_.data()) >= 0);
        REQUIRE((::setgroups(1, &other) == 0 && ::setegid(first) == 0 && ::seteuid(user) == 0));
    }
    ~as_other_user()
    {
        if (::seteuid(0) != 0 || ::setegid(0) != 0 ||
            ::setgroups(before_.size(), before_.data()) != 0)
            std::abort();  // no other test is to run like that
    }
    as_other_user(const as_other_user&) = delete;
    as_other_user& operator=(const as_other_user&) = delete;

private:
    std::vector<gid_t> before_;
};

file_descriptor connect_as(uid_t user, gid_t first, gid_t other, const std::string& path)
{
    const as_other_user disguise{user, first, other};
    return ipc::connect_to(path, deadline_in(patience));
}

unsigned mode_of(const std::string& path)
{
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

}  // namespace

TEST_CASE("a domain that is open to a group admits its members, and no other user", "[group]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_runtime_directory directory;
    const auto primary = start_cohortd("shared", group);

    check_refused(run("cohortd", {"-d", "shared", "--hand-over", "--group", "4243"}),
                  errc::invalid_argument, {"open to group 4242, not to group 4243"});
    CHECK(run(probe, as_user("65534")).status == exit_status{});
    CHECK(run(probe, as_user("65534", {"--observe"})).status == exit_status{});
    CHECK(run(probe, {"shared", "1"}).status == exit_status{});  // root, by its right
    check_refused(run(probe, {"shared", "1", "--uid", "65534"}), errc::wrong_owner,
                  {"belongs to uid 0 but this process runs as uid 65534", "or join group 4242"});
    CHECK(run("cohort", {"-d", "shared", "audit"}).status == exit_status{});
}

TEST_CASE("the first group of a user counts like the others", "[group]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_runtime_directory directory;
    const auto primary = start_cohortd("shared", {"--group", "65534"});

    CHECK(run(probe, {"shared", "1", "--uid", "65534"}).status == exit_status{});
}

TEST_CASE("the slot of a killed member of one user serves the next user", "[group]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_runtime_directory directory;
    const auto primary = start_cohortd("shared", group);
    const auto seen = secondary::observe("shared", patience);
    for (const auto* uid : {"65534", "65533", "65534"}) {
        auto member = child_process::spawn(probe, as_user(uid, {"--hold"}));
        member.await("attached", patience);
        REQUIRE(live_members(seen.region()) == 2);
        CHECK(seen.region().members.members[2].word().state == member_state::live);
        member.kill();
        REQUIRE(member.wait(patience));
        REQUIRE(eventually(
            [&] { return seen.region().members.members[2].word().state == member_state::empty; }));
    }
}

TEST_CASE(
    "a member of another user serves observers and the next primary after the first is killed",
    "[group]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_runtime_directory directory;
    auto primary = start_cohortd("shared", group);
    auto member = child_process::spawn(probe, as_user("65534", {"--hold"}));
    member.await("attached", patience);
    primary.kill();
    REQUIRE(primary.wait(patience));

    CHECK(run(probe, as_user("65533", {"--observe"})).status == exit_status{});
    CHECK(live_members(secondary::observe("shared", patience).region()) >= 1);
    check_refused(run("cohortd", {"-d", "shared", "--group", "4243"}), errc::invalid_argument,
                  {"lives and is open to group 4242, not to group 4243"});
    auto next = child_process::spawn("cohortd", {"--domain", "shared", "--adopt"});
    const auto line = next.read_line(patience);
    REQUIRE(line.has_value());
    CHECK(line->find("is adopted") != std::string::npos);
    CHECK(run(probe, as_user("65533")).status == exit_status{});
    member.tell("leave");
    CHECK(member.wait(patience) == exit_status{});
    next.kill(SIGTERM);
    CHECK(next.wait(patience) == exit_status{});
    CHECK(std::filesystem::is_empty(directory.path()));
}

TEST_CASE("a primary of another user that ends last leaves an empty directory, and no hindrance",
          "[group]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_runtime_directory directory;
    auto first = start_cohortd("shared", {"--group", "0"});
    auto member =
        child_process::spawn(probe, {"shared", "1", "--group", "0", "--uid", "65533", "--hold"});
    member.await("attached", patience);
    first.kill();
    REQUIRE(first.wait(patience));
    auto second = child_process::spawn(
        "spoiled", {"uid=65534", "--", "cohortd", "--domain", "shared", "--adopt"});
    const auto line = second.read_line(patience);
    REQUIRE((line && line->find("is adopted") != std::string::npos));
    member.tell("leave");
    REQUIRE(member.wait(patience) == exit_status{});
    second.kill(SIGTERM);
    REQUIRE(second.wait(patience) == exit_status{});

    CHECK(std::filesystem::is_empty(directory.path() / "shared"));
    const auto next = start_cohortd("shared");
    CHECK(run(probe, {"shared", "1"}).status == exit_status{});
}

TEST_CASE("what a start does not open to a group is closed, whatever the start before did",
          "[group]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_runtime_directory directory;
    const auto place = (directory.path() / "shared").string();
    {
        const auto open = start_cohortd("shared", group);  // killed, as at scope exit
        CHECK(mode_of(place) == 02770);
        CHECK(mode_of(place + "/lock") == 0660);
        CHECK(mode_of(place + "/primary.sock") == 0660);
    }
    CHECK(mode_of(place) == 02770);

    const auto closed = start_cohortd("shared");

    CHECK(mode_of(place) == 0700);
    CHECK(mode_of(place + "/lock") == 0600);
    CHECK(mode_of(place + "/primary.sock") == 0600);
    check_refused(run(probe, as_user("65534")), errc::wrong_owner, {place + " belongs to uid 0"});
}

TEST_CASE("a runtime directory of another user is used only by whoever has named it", "[group]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_directory above;
    const auto theirs = (above.path() / "cohort").string();
    REQUIRE(::chmod(above.path().c_str(), 0755) == 0);
    REQUIRE(::mkdir(theirs.c_str(), 0700) == 0);
    REQUIRE(::chown(theirs.c_str(), 65534, 65534) == 0);
    const scoped_variable named{"COHORT_RUNTIME_DIR", theirs};
    const scoped_variable usual{"XDG_RUNTIME_DIR", above.path().string()};
    auto primary = child_process::spawn("spoiled", {"uid=65534", "--", "cohortd", "--domain",
                                                    "shared", "--memory", "8M", "--huge", "none",
                                                    "--group", "0"});  // its first group
    const auto line = primary.read_line(patience);
    REQUIRE((line && line->starts_with("cohortd: domain")));
    const words somebody{"shared", "1", "--group", "0", "--uid", "65533"};

    CHECK(run(probe, somebody).status == exit_status{});
    const scoped_variable not_named{"COHORT_RUNTIME_DIR", ""};
    check_refused(run(probe, somebody), errc::wrong_owner,
                  {"the runtime directory " + theirs + " has uid 65534", "could replace"});
}

TEST_CASE("a connection is trusted for the user and each group of who has made it", "[group]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_directory files;
    const auto path = (files.path() / "s").string();
    const auto listener = ipc::listen_at(path, std::nullopt);
    REQUIRE(::chmod(files.path().c_str(), 0755) == 0);
    REQUIRE(::chmod(path.c_str(), 0666) == 0);
    const auto connection = connect_as(65534, 4240, 4242, path);
    const file_descriptor accepted{::accept(listener.get(), nullptr, nullptr)};
    REQUIRE(accepted);

    CHECK_FALSE(ipc::is_trusted(accepted.get(), std::nullopt));
    CHECK_FALSE(ipc::is_trusted(accepted.get(), 4241u));
    CHECK(ipc::is_trusted(accepted.get(), 4240u));
    CHECK(ipc::is_trusted(accepted.get(), 4242u));
}

TEST_CASE("sockets that somebody has opened to all users serve no other user", "[group]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_runtime_directory directory;
    const auto primary = start_cohortd("shared", {"--telemetry"});
    auto member = child_process::spawn(probe, {"shared", "1", "--hold"});
    member.await("attached", patience);
    std::vector<std::string> sockets;
    REQUIRE(::chmod(directory.path().c_str(), 0777) == 0);
    for (const auto& entry : std::filesystem::recursive_directory_iterator{directory.path()}) {
        REQUIRE(::chmod(entry.path().c_str(), 0777) == 0);
        if (entry.is_socket())
            sockets.push_back(entry.path());
    }
    REQUIRE(sockets.size() == 4);  // of the domain, of two members, and for DPDK's clients

    // Whoever is trusted hears nothing before he asks, or a greeting.
    const auto hung_up = [](const file_descriptor& connection, std::chrono::milliseconds limit) {
        std::vector<std::byte> buffer(ipc::max_telemetry_bytes);
        return ipc::wait_readable(connection.get(), deadline_in(limit)) &&
               ipc::receive_message(connection.get(), buffer).status ==
                   ipc::received_message::status::closed;
    };
    for (const auto& path : sockets) {
        INFO(path);
        const auto stranger = connect_as(65534, 65534, 65534, path);
        const auto own = ipc::connect_to(path, deadline_in(patience));

        CHECK(hung_up(stranger, patience));
        CHECK_FALSE(hung_up(own, 100ms));
    }
}

TEST_CASE("a group that does not exist, or is none of the user's, is refused", "[group][refusal]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, needs_root);
    const scratch_runtime_directory directory;
    check_refused(run("cohortd", {"-d", "shared", "--group", "no such"}), errc::invalid_argument,
                  {"--group \"no such\" is no group of this system"});
    const scratch_runtime_directory theirs;
    REQUIRE(::chown(theirs.path().c_str(), 65534, 65534) == 0);
    check_refused(run("spoiled", {"uid=65534", "--", "cohortd", "-d", "shared", "--group", "4242"}),
                  errc::no_permission,
                  {"cannot open", "to group 4242", "name a group that this process is in"});
}

}  // namespace cohort::test
