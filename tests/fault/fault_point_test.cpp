// A process is killed at each fault point of the sources, at each of its first passes: survivors
// carry on, the audit is clean, every buffer is back, and the name starts again without help.

#include "cohort/secondary/secondary.hpp"
#include "fault/faulty_domain.hpp"
#include "fault/source_points.hpp"
#include "fault/sweep.hpp"
#include "support/capture_bytes.hpp"
#include "support/skip.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// A scenario that runs beside a primary and a bystander.
std::optional<exit_status> kill_beside_others(const std::string& scenario, const std::string& fault)
{
    faulty_domain domain;
    domain.bring_to_life();
    auto process = domain.spawn({scenario}, fault);
    const auto ended = process.wait(patience);
    domain.check_survivors();
    domain.check_next_start();
    return ended;
}

[[nodiscard]] bool all_free(const std::string& pool, const region_layout& region)
{
    const auto report = audit(audited(region), 1);
    return std::ranges::any_of(report.pools, [&](const auto& found) {
        return found.name == pool && found.free() == found.count;
    });
}

/// A scenario in which nobody else may do the reaping.
std::optional<exit_status> kill_the_reaper(const std::string& scenario, const std::string& fault)
{
    faulty_domain domain;
    domain.bring_to_life();
    std::optional<child_process> victim;
    if (scenario == "reap" || scenario == "mend") {
        victim.emplace(domain.spawn({scenario == "reap" ? "victim" : "spoiler"}));
        victim->await("holding", patience);
    }
    std::unique_ptr<secondary::attachment> sender;
    if (scenario == "mend")
        sender = secondary::attach(domain.name, patience, "sender", ipc::dispatching::by_caller);
    auto process = domain.spawn({scenario}, fault);
    process.await("ready", patience);
    if (scenario == "mend") {
        for (int sent = 0; sent != 5; ++sent)
            REQUIRE(sender->actions().send(ipc::target{"spoiler"}, "x") == 1);
        victim->tell("go");
        victim->await("spoilt", patience);
    }
    domain.stop_all();
    victim.reset();  // killed
    process.tell("go");
    const auto ended = process.wait(patience);
    domain.continue_all();
    if (sender) {
        CHECK(eventually([&] { return all_free("cohort.messages", sender->region()); }));
        sender.reset();
    }
    domain.check_survivors();
    domain.check_next_start();
    return ended;
}

/// A scenario with memory that only the victim maps. After its death the same runs through: what
/// was left half-done stops nobody.
std::optional<exit_status> kill_with_own_memory(const std::string& fault)
{
    const scratch_directory files;
    const auto piece = (files.path() / "piece").string();
    faulty_domain domain;
    domain.bring_to_life();
    const auto ended = domain.spawn({"external", piece}, fault).wait(patience);
    {
        const auto seen = secondary::observe(domain.name, patience);
        REQUIRE(eventually([&] { return live_members(seen.region()) == 2; }));
    }
    domain.check_survivors();
    CHECK(domain.spawn({"external", piece}).wait(patience) == exit_status{});
    domain.check_survivors();
    domain.check_next_start();
    return ended;
}

/// A member with blocks in memory of its own is killed inside the heap, and whoever settles that is
/// killed too: a reaper without the memory ("owe"), one that has it ("bury"), or the next member
/// that attaches it ("settle").
std::optional<exit_status> kill_at_the_debts(const std::string& scenario, const std::string& fault)
{
    const scratch_directory files;
    const auto piece = (files.path() / "piece").string();
    faulty_domain domain;
    domain.bring_to_life();
    std::optional<child_process> debtor{domain.spawn({"debtor", piece})};
    debtor->await("holding", patience);
    const auto kill_inside = [&] {
        debtor->tell("go");
        debtor->await("inside", patience);
        debtor.reset();
    };
    const auto await_members = [&](std::size_t count) {
        const auto seen = secondary::observe(domain.name, patience);
        REQUIRE(eventually([&] { return live_members(seen.region()) == count; }));
    };
    std::optional<exit_status> ended;
    // Who is killed gets another slot than the debtor had: the death of a later member in that slot
    // would pay what is owed for an earlier one.
    std::optional<child_process> in_its_slot;
    if (scenario == "settle") {
        kill_inside();
        await_members(2);
        in_its_slot.emplace(domain.spawn({"lose"}));
        in_its_slot->await("ready", patience);
        ended = domain.spawn({"settle", piece}, fault).wait(patience);
    } else {
        auto reaper = domain.spawn({scenario, piece}, fault);
        reaper.await("ready", patience);
        domain.stop_all();
        kill_inside();
        ended = reaper.wait(patience);
        domain.continue_all();
    }
    await_members(in_its_slot ? 3u : 2u);
    CHECK(domain.spawn({"settle", piece}).wait(patience) == exit_status{});
    in_its_slot.reset();
    CHECK(domain.spawn({"inherit", piece}).wait(patience) == exit_status{});
    domain.check_survivors();
    domain.check_next_start();
    return ended;
}

std::string numbered(int number)
{
    auto text = "packet " + std::to_string(1000 + number);
    text.resize(number % 10 == 3 ? 5000 : 80, '.');  // some are chains
    return text;
}

constexpr int packets = 30;

/// How often each packet stands in a capture, by its number.
std::map<int, int> packets_of(const std::filesystem::path& capture)
{
    std::ifstream file{capture, std::ios::binary};
    const std::string all{std::istreambuf_iterator<char>{file}, {}};
    std::map<int, int> found;
    for (std::size_t at = 24; at + 16 <= all.size();) {
        std::uint32_t length = 0;
        std::memcpy(&length, all.data() + at + 8, sizeof length);
        const auto payload = all.substr(at + 16, length);
        const auto number = payload.starts_with("packet ") ? std::stoi(payload.substr(7)) : -1;
        ++found[payload == numbered(number - 1000) ? number - 1000 : -1];
        at += 16 + length;
    }
    return found;
}

std::optional<exit_status> kill_at_the_port(const std::string& fault)
{
    const scratch_directory files;
    const auto input = files.path() / "in.pcap";
    const auto output = files.path() / "out.pcap";
    auto capture = capture_bytes::pcap();
    std::map<int, int> each_once;
    for (int number = 0; number != packets; ++number) {
        capture.record(1'000'000'000u + static_cast<std::uint64_t>(number), numbered(number));
        each_once[number] = 1;
    }
    std::ofstream{input, std::ios::binary} << capture.text();

    faulty_domain domain;
    domain.bring_to_life();
    auto process = domain.spawn({"port", input, output}, fault);
    const auto ended = process.wait(patience);
    {
        const auto seen = secondary::observe(domain.name, patience);
        REQUIRE(eventually([&] { return live_members(seen.region()) == 2; }));
    }
    auto successor = domain.spawn({"port", input, output});
    CHECK(successor.wait(patience) == exit_status{});
    CHECK(packets_of(output) == each_once);
    domain.check_survivors();
    domain.check_next_start();
    return ended;
}

}  // namespace

TEST_CASE("each fault point of the sources has a case, and each case a fault point", "[fault]")
{
    std::set<std::string> tested;
    for (const auto& [scenario, points] : points_of)
        tested.insert(points.begin(), points.end());

    CHECK(tested == points_in_sources());
}

TEST_CASE("a primary killed while it starts leaves nothing that the next start stumbles over",
          "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("start", [](const std::string& fault) {
        faulty_domain domain;
        const auto ended = domain.spawn({"start"}, fault).wait(patience);
        domain.check_next_start();
        return ended;
    });
}

TEST_CASE("a primary killed while it adopts is followed by one that adopts", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("adopt", [](const std::string& fault) {
        faulty_domain domain;
        domain.bring_to_life();
        domain.primary().kill();
        REQUIRE(domain.primary().wait(patience));
        const auto ended = domain.spawn({"adopt"}, fault).wait(patience);
        domain.start_next_primary();
        domain.check_survivors();
        domain.check_next_start();
        return ended;
    });
}

TEST_CASE("a primary killed while it admits a member is followed by one that admits", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep(
        "admit",
        [](const std::string& fault) {
            faulty_domain domain;
            const auto pass = std::stoi(fault.substr(fault.find(':') + 1));
            const auto point = fault.substr(0, fault.find(':'));
            // The bystander has passed there first.
            {
                const scoped_variable planned{"COHORT_FAULT",
                                              point + ':' + std::to_string(pass + 1)};
                domain.bring_to_life();
            }
            CHECK(domain.spawn({"attach"}).wait(patience));
            domain.primary().kill(SIGTERM);  // when it comes there less often
            const auto ended = domain.primary().wait(patience);
            domain.start_next_primary();
            domain.check_survivors();
            domain.check_next_start();
            return ended;
        },
        2);
}

TEST_CASE("a successor killed while it takes over leaves a primary that serves", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("hand over", [](const std::string& fault) {
        faulty_domain domain;
        domain.bring_to_life();
        auto successor = domain.spawn({"hand over"}, fault);
        const auto ended = successor.wait(patience);
        // Once it has said that it serves, it is a primary like any other.
        const auto predecessor_ended = [&] { return domain.primary().wait(0ms).has_value(); };
        REQUIRE(eventually(
            [&] { return predecessor_ended() || secondary::primary_alive(faulty_domain::name); }));
        if (predecessor_ended())
            domain.start_next_primary();
        domain.check_survivors();
        domain.check_next_start();
        return ended;
    });
}

TEST_CASE("a primary killed while it hands over is followed by its successor", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("let go", [](const std::string& fault) {
        faulty_domain domain;
        {
            const scoped_variable planned{"COHORT_FAULT", fault};
            domain.bring_to_life();
        }
        auto successor = start_cohortd(domain.name, {"--hand-over"});
        const auto ended = domain.primary().wait(patience);
        domain.take_as_primary(std::move(successor));
        domain.check_survivors();
        domain.check_next_start();
        return ended;
    });
}

TEST_CASE("a member killed at work costs the others nothing", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    const auto scenario = GENERATE(as<std::string>{}, "attach", "objects", "buffers", "clones",
                                   "dynamic", "message", "heap", "port life");
    sweep(scenario, [&](const std::string& fault) { return kill_beside_others(scenario, fault); });
}

TEST_CASE("a member killed at memory of its own leaves a heap that serves the next", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("external", kill_with_own_memory);
}

TEST_CASE("a reaper killed while it notes what a heap is owed is followed by the next", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep(
        "owe", [](const std::string& fault) { return kill_at_the_debts("owe", fault); }, 2);
}

TEST_CASE(
    "a reaper killed while it releases blocks of the dead releases none twice and leaves none",
    "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep(
        "bury", [](const std::string& fault) { return kill_at_the_debts("bury", fault); }, 2);
}

TEST_CASE("a member killed while it pays what a heap is owed pays nothing twice and leaves nothing",
          "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep(
        "settle", [](const std::string& fault) { return kill_at_the_debts("settle", fault); }, 2);
}

TEST_CASE("a reaper killed at work is followed by the next", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    const auto scenario =
        GENERATE(as<std::string>{}, "reap", "mend", "lose", "repair", "take over");
    sweep(scenario, [&](const std::string& fault) { return kill_the_reaper(scenario, fault); });
}

TEST_CASE("a worker killed while it takes over what another held in a stage leaves all in order",
          "[fault][stages]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep(
        "stages", [](const std::string& fault) { return kill_the_reaper("stages", fault); }, 2);
}

TEST_CASE("a member killed at a port loses no packet and doubles none", "[fault]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    sweep("port", kill_at_the_port);
}

}  // namespace cohort::test
