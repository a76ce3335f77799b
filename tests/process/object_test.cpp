// Typed objects and their locks between processes, some of which are killed or stopped.

#include "process/living_domain.hpp"
#include "support/scratch_domain.hpp"
#include "support/stopped.hpp"
#include "support/totals.hpp"

#include <csignal>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// A member that is told to lock the object "totals" and to keep it.
class holder_of_totals {
public:
    holder_of_totals()
    {
        member.await("ready", patience);
        tell("hold-totals totals");
    }
    void tell(const char* command)
    {
        member.tell(command);
        member.await("done", patience);
    }

    scratch_domain domain;
    totals& shared{domain->create<totals>("totals")};
    child_process member{child_process::spawn("member", {"scratch", "holder"})};
};

}  // namespace

TEST_CASE("a lock that a killed member held tells the next one that its work was cut short",
          "[object][lock]")
{
    holder_of_totals held;
    auto& shared = held.shared;
    auto& member = held.member;
    CHECK(shared.lock.lock(deadline_in(5ms)) == lock_result::stalled);

    member.kill();
    {
        const robust_guard mine{shared.lock, deadline_in(10s)};
        REQUIRE(mine);
        CHECK(mine.taken_over());
        CHECK(shared.in == shared.out + 1);
        shared.repair();
    }
    CHECK(shared.lock.lock(deadline_in(10s)) == lock_result::acquired);
    shared.lock.unlock();
    REQUIRE(member.wait(patience));
}

TEST_CASE("a stopped holder keeps its lock, and it can be named", "[object][lock]")
{
    holder_of_totals held;
    auto& shared = held.shared;
    auto& member = held.member;
    stop(member);

    CHECK(shared.lock.lock(deadline_in(50ms)) == lock_result::stalled);
    const auto word = held.domain->members().members().lane(shared.lock.holder()).word();
    CHECK(word.member == held.domain->actions().find_member("holder").value().id);

    member.kill(SIGCONT);
    held.tell("release-totals totals");
    CHECK(shared.lock.lock(deadline_in(10s)) == lock_result::acquired);
    CHECK(shared.in == shared.out);
    shared.lock.unlock();
}

TEST_CASE("members that count under a lock go on whoever of them is killed", "[object][lock]")
{
    scratch_domain domain;
    auto& shared = domain->create<totals>("totals");
    auto steady = child_process::spawn("member", {"scratch", "steady"});
    steady.await("ready", patience);
    steady.tell("count-totals totals");
    for (int round = 0; round != 10; ++round) {
        auto doomed = child_process::spawn("member", {"scratch", "doomed"});
        doomed.await("ready", patience);
        doomed.tell("count-totals totals");
        const auto lives = [&] {
            const auto found = domain->actions().find_member("doomed");
            const auto holder = shared.lock.holder();
            return found && holder != 0 &&
                   domain->members().members().lane(holder).word().member == found->id;
        };
        REQUIRE(eventually(lives));  // it holds the lock now, or did a moment ago
        doomed.kill();
        REQUIRE(doomed.wait(patience));
        const auto before = shared.in.load();
        REQUIRE(eventually([&] { return shared.in > before + 100; }));
    }
    steady.kill();
    REQUIRE(steady.wait(patience));

    const robust_guard mine{shared.lock, deadline_in(10s)};
    REQUIRE(mine);
    CHECK((shared.in == shared.out || (mine.taken_over() && shared.in == shared.out + 1)));
}

TEST_CASE("of members that create one object at the same time one makes it, and all find it",
          "[object]")
{
    scratch_domain domain;
    std::vector<child_process> members;
    for (const auto* name : {"a", "b", "c"}) {
        members.push_back(child_process::spawn("member", {"scratch", name}));
        members.back().await("ready", patience);
    }
    for (auto& member : members)
        member.tell("create-totals totals");
    int made = 0;
    for (auto& member : members) {
        const auto line = member.read_line(patience);
        REQUIRE(line);
        made += *line == "done" ? 1 : 0;
        CHECK((*line == "done" || line->find("exists") != std::string::npos));
    }
    CHECK(made == 1);
    members.clear();  // killed: the object outlives them
    auto* shared = domain->find<totals>("totals");
    REQUIRE(shared);
    CHECK(shared->lock.holder() == 0);
}

}  // namespace cohort::test
