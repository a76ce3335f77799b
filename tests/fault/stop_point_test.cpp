// A process is stopped at fault points of the sources, for longer than others wait. Whoever needs
// what it holds is told who has it, by a deadline; all else works; and when it goes on, it does its
// work as if nothing had been.

#include "cohort/base/error.hpp"
#include "cohort/secondary/secondary.hpp"
#include "fault/faulty_domain.hpp"
#include "fault/scenario_points.hpp"
#include "support/scale.hpp"
#include "support/seed.hpp"
#include "support/skip.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

#include <sys/stat.h>

namespace cohort::test {
namespace {

enum class primary_is { there, stopped };

/// The call works, or throws: what it needs is held, and by whom; or nobody is the primary,
/// where one is stopped that is not yet, or no more.
template <typename Call>
void works_or_names_the_holder(Call&& call, primary_is primary = primary_is::there)
{
    try {
        call();
    } catch (const error& refused) {
        INFO(refused.what());
        const bool is_held = refused.reason() == errc::stalled ||
                             refused.reason() == errc::timed_out ||
                             refused.reason() == errc::in_use;
        CHECK((is_held ||
               (refused.reason() == errc::no_such_domain && primary == primary_is::stopped)));
        if (is_held)
            CHECK_THAT(refused.what(), Catch::Contains("lane ") || Catch::Contains("pid ") ||
                                           Catch::Contains("process "));
    }
}

void visit(primary_is primary)
{
    const auto visitor = secondary::attach(faulty_domain::name, 3s, "visitor");
    auto& actions = visitor->actions();
    if (const auto first = actions.find_primary(); first && primary == primary_is::there)
        CHECK(actions.request(*first, "unheard", "of", 10s).what == ipc::verdict::refused);
    auto heap = visitor->heap();
    if (auto* block = heap.malloc(100))
        static_cast<void>(heap.free(block));  // stalled: it goes with this member
    works_or_names_the_holder([&] {
        visitor->reserve_memzone("visited", 64_KiB);
        visitor->release_memzone("visited");
    });
    works_or_names_the_holder([&] {
        visitor->create_pktmbuf_pool("visited", {.count = 64, .cache_size = 8});
        visitor->destroy_mempool("visited");
    });
}

/// What goes on beside a stopped process: packets flow, and a newcomer does a bit of everything.
void live_beside(faulty_domain& domain, primary_is primary = primary_is::there)
{
    domain.tell_bystander("drain");
    works_or_names_the_holder([&] { visit(primary); }, primary);
}

/// False when it ends, as it should, without having come to its fault point.
[[nodiscard]] bool comes_to_stop(child_process& process)
{
    std::optional<exit_status> ended;
    REQUIRE(eventually([&] { return is_stopped(process.pid()) || (ended = process.wait(0ms)); }));
    if (ended)
        CHECK(*ended == exit_status{});
    return !ended;
}

void go_on(child_process& process)
{
    process.kill(SIGCONT);
    CHECK(process.wait(patience) == exit_status{});
}

/// False when it does not come to its fault point.
[[nodiscard]] bool stops_and_goes_on(faulty_domain& domain, child_process& process,
                                     primary_is primary = primary_is::there)
{
    if (!comes_to_stop(process))
        return false;
    live_beside(domain, primary);
    go_on(process);
    return true;
}

void check_all_is_well(faulty_domain& domain)
{
    domain.check_survivors();
    domain.check_next_start();
}

/// Calls `once` for each point of a scenario and each of its passes, in reduced runs for two points
/// and a pass each; it returns false when the process has not come there.
template <typename Once>
void stop_at_each(const std::string& scenario, Once&& once)
{
    auto points = points_of.at(scenario);
    std::ranges::shuffle(points, random_engine("stop " + scenario));
    if (!full_scale())
        points.resize(std::min<std::size_t>(points.size(), slow_sanitizer ? 1 : 2));
    for (const auto& point : points)
        DYNAMIC_SECTION(scenario << " stopped at " << point)
        {
            const std::uint64_t most = full_scale() ? 6 : 1;
            for (std::uint64_t pass = 1; pass <= most; ++pass) {
                INFO("at pass " << pass << " of " << point);
                const bool reached = once(point + ":" + std::to_string(pass) + ":stop");
                REQUIRE((reached || pass != 1));
                if (!reached)
                    break;
            }
        }
}

}  // namespace

TEST_CASE("a member stopped at work holds nobody up without a word, and goes on right",
          "[fault][stop]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    const auto scenario = GENERATE(as<std::string>{}, "attach", "objects", "buffers", "clones",
                                   "dynamic", "message", "heap", "port life");
    stop_at_each(scenario, [&](const std::string& fault) {
        faulty_domain domain;
        domain.bring_to_life();
        auto process = domain.spawn({scenario}, fault);
        if (!stops_and_goes_on(domain, process))
            return false;
        check_all_is_well(domain);
        return true;
    });
}

TEST_CASE("a page that is published exists, wherever who makes or takes it is stopped",
          "[fault][stop][memory]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    const auto point = GENERATE(as<std::string>{}, "memory.made", "memory.grown",
                                "memory.withdrawn", "memory.punched");
    faulty_domain domain;
    domain.bring_to_life();
    const auto watcher = secondary::attach(faulty_domain::name, patience, "watcher");
    auto process = domain.spawn({"objects"}, point + ":1:stop");
    REQUIRE(comes_to_stop(process));
    REQUIRE(is_stopped(process.pid()));

    const auto& memory = watcher->region().memory;
    for (std::size_t i = 0; i != memory.list_count; ++i) {
        struct stat status {};
        REQUIRE(::fstat(watcher->segments().segment_files()[i].get(), &status) == 0);
        INFO(point << ", list " << i);
        CHECK(static_cast<std::uint64_t>(status.st_blocks) * 512 >=
              memory.lists[i].published.load());
    }
    go_on(process);
}

TEST_CASE("a reaper stopped at work holds nobody up without a word, and goes on right",
          "[fault][stop]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    stop_at_each("reap", [&](const std::string& fault) {
        faulty_domain domain;
        domain.bring_to_life();
        std::optional victim{domain.spawn({"victim"})};
        victim->await("holding", patience);
        auto process = domain.spawn({"reap"}, fault);
        process.await("ready", patience);
        domain.stop_all();
        victim.reset();  // killed
        const bool reached = comes_to_stop(process);
        domain.continue_all();
        if (!reached)
            return false;
        live_beside(domain);
        go_on(process);
        check_all_is_well(domain);
        return true;
    });
}

TEST_CASE("a primary stopped while it starts holds nobody up without a word, and goes on right",
          "[fault][stop]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    stop_at_each("start", [&](const std::string& fault) {
        faulty_domain domain;
        auto process = domain.spawn({"start"}, fault);
        if (!comes_to_stop(process))
            return false;
        works_or_names_the_holder(
            [] { static_cast<void>(secondary::attach(faulty_domain::name, 1s, "early")); },
            primary_is::stopped);
        go_on(process);
        domain.check_next_start();
        return true;
    });
}

TEST_CASE("a primary stopped while it adopts has all members when it goes on", "[fault][stop]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    stop_at_each("adopt", [&](const std::string& fault) {
        faulty_domain domain;
        domain.bring_to_life();
        domain.primary().kill();
        REQUIRE(domain.primary().wait(patience));
        auto process = domain.spawn({"adopt"}, fault);
        if (!stops_and_goes_on(domain, process, primary_is::stopped))
            return false;
        domain.start_next_primary();
        check_all_is_well(domain);
        return true;
    });
}

TEST_CASE("a primary stopped while it admits a member admits it when it goes on", "[fault][stop]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    stop_at_each("admit", [&](const std::string& fault) {
        faulty_domain domain;
        const auto colon = fault.find(':');
        // The bystander has passed there first.
        const auto pass = std::stoi(fault.substr(colon + 1)) + 1;
        {
            const scoped_variable planned{"COHORT_FAULT", fault.substr(0, colon) + ':' +
                                                              std::to_string(pass) + ":stop"};
            domain.bring_to_life();
        }
        auto newcomer = domain.spawn({"attach"});
        REQUIRE(eventually(
            [&] { return is_stopped(domain.primary().pid()) || newcomer.wait(0ms).has_value(); }));
        if (!eventually([&] { return is_stopped(domain.primary().pid()); }, 2s))
            return false;
        live_beside(domain, primary_is::stopped);
        domain.primary().kill(SIGCONT);
        CHECK(newcomer.wait(patience) == exit_status{});
        check_all_is_well(domain);
        return true;
    });
}

TEST_CASE("a successor stopped while it takes over is the primary when it goes on", "[fault][stop]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    stop_at_each("hand over", [&](const std::string& fault) {
        faulty_domain domain;
        domain.bring_to_life();
        auto process = domain.spawn({"hand over"}, fault);
        if (!stops_and_goes_on(domain, process, primary_is::stopped))
            return false;
        // The successor left at once, too.
        REQUIRE(domain.primary().wait(patience) == exit_status{});
        domain.start_next_primary();
        check_all_is_well(domain);
        return true;
    });
}

TEST_CASE("a primary stopped while it hands over is followed by its successor when it goes on",
          "[fault][stop]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    stop_at_each("let go", [&](const std::string& fault) {
        faulty_domain domain;
        {
            const scoped_variable planned{"COHORT_FAULT", fault};
            domain.bring_to_life();
        }
        auto successor = child_process::spawn("cohortd", {"--domain", domain.name, "--huge", "none",
                                                          "--hand-over", "--timeout", "30"});
        if (!comes_to_stop(domain.primary()))
            return false;
        live_beside(domain, primary_is::stopped);
        go_on(domain.primary());
        const auto line = successor.read_line(patience);
        REQUIRE(line);
        CHECK_THAT(*line, Catch::StartsWith("cohortd: domain"));
        domain.take_as_primary(std::move(successor));
        check_all_is_well(domain);
        return true;
    });
}

}  // namespace cohort::test
