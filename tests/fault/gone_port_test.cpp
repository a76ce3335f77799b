// A port is destroyed while others run: one of them may have looked at it a moment before, and be
// stopped there until its memory is somebody else's.

#include "fault/faulty_domain.hpp"
#include "support/skip.hpp"

#include <string>
#include <utility>

#include <catch2/catch.hpp>

namespace cohort::test {

TEST_CASE("who was stopped behind its look at a port neither writes into what comes after it nor "
          "counts that",
          "[fault][port][stop]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    const auto use = GENERATE(as<std::string>{}, "memzone", "port");
    const auto [what, point] = GENERATE(table<std::string, std::string>({
        {"claim", "port.owning:1:stop"},
        {"set up", "port.owning:1:stop"},
        {"stop", "port.changing:2:stop"},
        {"stop queue", "port.silencing:1:stop"},
        {"count", "port.reading:1:stop"},
    }));
    INFO(what << ", then a " << use);
    faulty_domain domain;
    domain.bring_to_life();
    auto stale = domain.spawn({"stale", what}, point);
    stale.await("ready", patience);
    stale.tell("go");
    await_stop(stale);

    auto successor = domain.spawn({"reuse", use});
    successor.await("ready", patience);
    stale.kill(SIGCONT);
    CHECK(stale.wait(patience) == exit_status{});
    successor.tell("go");

    CHECK(successor.wait(patience) == exit_status{});
    domain.check_survivors();
}

TEST_CASE("who was stopped behind its look at a queue goes by what has changed meanwhile",
          "[fault][port][stop]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    using words = std::vector<std::string>;
    const auto [late_act, point, act] = GENERATE(table<words, std::string, words>({
        {words{"send to silent"}, "port.owning:1:stop", words{"silence"}},
        {words{"start deferred", "rx"}, "port.changing:3:stop", words{"defer", "rx"}},
        {words{"start deferred", "tx"}, "port.changing:3:stop", words{"defer", "tx"}},
    }));
    INFO(late_act.back() << ", and then " << act.back());
    faulty_domain domain;
    domain.bring_to_life();
    auto late = domain.spawn(late_act, point);
    late.await("ready", patience);
    late.tell("go");
    await_stop(late);

    CHECK(domain.spawn(act).wait(patience) == exit_status{});
    late.kill(SIGCONT);

    CHECK(late.wait(patience) == exit_status{});
    domain.check_survivors();
}

}  // namespace cohort::test
