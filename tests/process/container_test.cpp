// Members in containers: namespaces of their own, and only the rendezvous directory in common.

#include "process/living_domain.hpp"
#include "support/skip.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <unistd.h>

namespace cohort::test {
namespace {

using words = std::vector<std::string>;

const words own_namespaces{"own-ipc", "own-pids", "mount=tmpfs:/dev/shm:size=32m"};

child_process in_container(words steps, const words& program)
{
    steps.push_back("--");
    steps.insert(steps.end(), program.begin(), program.end());
    return child_process::spawn("spoiled", steps);
}

/// Without the rights to make one it ends at once.
bool comes_up(child_process& program, const std::string& beginning)
{
    const auto line = program.read_line(patience);
    return line && line->starts_with(beginning);
}

const words daemon{"cohortd", "--domain", "boxed", "--memory", "8M", "--huge", "none", "--auto"};

words member(const std::string& name)
{
    return {"member", "boxed", name};
}

void tell(child_process& program, const std::string& command)
{
    program.tell(command);
    program.await("done", patience);
}

}  // namespace

TEST_CASE("members in PID, IPC and mount namespaces of their own work, die and are reaped",
          "[container]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, "root, to make namespaces");
    const scratch_runtime_directory directory;
    auto primary = in_container(own_namespaces, daemon);
    COHORT_SKIP_UNLESS(comes_up(primary, "cohortd: domain"), "the right to make namespaces");
    const auto watcher = secondary::attach("boxed", patience, "watcher");
    auto pool = watcher->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 8});
    auto one = in_container(own_namespaces, member("one"));
    REQUIRE(comes_up(one, "ready"));
    auto two = in_container(own_namespaces, member("two"));
    REQUIRE(comes_up(two, "ready"));
    tell(one, "take packets 20");
    tell(two, "take packets 10");
    tell(two, "offer ping");

    // All three are process 1, and their threads have equal ids.
    auto& table = watcher->members().members();
    const auto ref = [&](const char* name) { return *watcher->actions().find_member(name); };
    const auto tids_of = [&](const char* name) {
        std::vector<std::int32_t> tids;
        table.for_each_lane_of(ref(name).id, [&](lane_id, lane_layout& lane, lane_word word) {
            if (word.state == lane_state::live)
                tids.push_back(lane.tid);
        });
        return tids;
    };
    CHECK(table.member(ref("one").id).pid == 1);
    CHECK(table.member(ref("two").id).pid == 1);
    // The lane of a member's dispatcher is there a moment after the member.
    CHECK(eventually([&] { return tids_of("one").size() == 2 && tids_of("two").size() == 2; }));
    CHECK(tids_of("one") == tids_of("two"));

    one.kill();
    REQUIRE(one.wait(patience));
    CHECK(eventually([&] { return !watcher->actions().find_member("one"); }));
    CHECK(eventually([&] {
        pool.objects().flush();
        return pool.objects().available() >= 64 - 10;
    }));
    auto& actions = watcher->actions();
    CHECK(actions.request(ref("two"), "ping", "", 10s).text() == "pong ");
    table.for_each_lane_of(ref("two").id, [](lane_id, lane_layout& lane, lane_word word) {
        CHECK(word.state == lane_state::live);
        CHECK_FALSE(lane.sentinel.owner_died());
    });
    CHECK(audit(audited(watcher->region())).clean());
}

TEST_CASE("a primary in a container is followed by one in another", "[container][adoption]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, "root, to make namespaces");
    const scratch_runtime_directory directory;
    auto primary = in_container(own_namespaces, daemon);
    COHORT_SKIP_UNLESS(comes_up(primary, "cohortd: domain"), "the right to make namespaces");
    auto boxed = in_container(own_namespaces, member("boxed"));
    REQUIRE(comes_up(boxed, "ready"));
    tell(boxed, "offer ping");

    primary.kill();
    REQUIRE(primary.wait(patience));
    REQUIRE(eventually([] { return !secondary::primary_alive("boxed"); }));
    auto next = in_container(own_namespaces, daemon);

    REQUIRE(comes_up(next, "cohortd: domain \"boxed\" is adopted"));
    const auto newcomer = secondary::attach("boxed", patience, "newcomer");
    CHECK(newcomer->actions()
              .request(*newcomer->actions().find_member("boxed"), "ping", "", 10s)
              .text() == "pong ");
}

TEST_CASE("a user without capabilities holds and uses a domain on a root that is read-only",
          "[container]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, "root, to make namespaces");
    const scratch_runtime_directory directory;
    REQUIRE(::chown(directory.path().c_str(), 65534, 65534) == 0);
    const words plain{"keep=" + directory.path().string(), "read-only-root", "uid=65534"};

    auto primary = in_container(plain, daemon);
    COHORT_SKIP_UNLESS(comes_up(primary, "cohortd: domain"), "the right to make namespaces");
    auto one = in_container(plain, member("one"));
    REQUIRE(comes_up(one, "ready"));
    tell(one, "grow table 1000000");
    tell(one, "allocate routes 1000");
    auto tool = in_container(plain, {"cohort", "-d", "boxed", "audit"});
    CHECK(tool.wait(patience) == exit_status{});
    one.kill();
    REQUIRE(one.wait(patience));
    auto two = in_container(plain, member("two"));
    CHECK(comes_up(two, "ready"));
    two.tell("leave");
    two.await("left", patience);
    primary.kill(SIGTERM);
    CHECK(primary.wait(patience) == exit_status{});
    CHECK(std::filesystem::is_empty(directory.path()));
}

}  // namespace cohort::test
