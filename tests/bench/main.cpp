// cohort_bench: every measurement in one run with its peers. See tests/bench/run.sh.

#include "action_bench.hpp"
#include "action_player.hpp"
#include "copy_bench.hpp"
#include "custody_bench.hpp"
#include "heap_bench.hpp"
#include "lock_bench.hpp"
#include "packet_bench.hpp"
#include "pages.hpp"
#include "participant.hpp"
#include "port_bench.hpp"
#include "process_bench.hpp"
#include "recovery_bench.hpp"
#include "ring_bench.hpp"
#include "support/conversation.hpp"
#include "support/hugepages.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <span>
#include <string_view>
#include <thread>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

using namespace cohort::bench;

constexpr std::size_t heap_megabytes = 256;  // ours and DPDK's at once
static_assert(2 * heap_megabytes >= process_megabytes, "start and attach use the same pages");

/// What begins so needs neither processes that start nor heaps.
constexpr std::array<std::string_view, 4> beside_heaps{"action", "recovery", "lock", "custody"};
/// And these no heaps.
constexpr std::array<std::string_view, 2> without_heaps{"ring", "copy"};

struct options {
    std::string filter;
    std::string json;
    std::string compete;
    std::vector<std::string> part;
    std::vector<std::string> action;
    std::size_t rounds = 15;
    bool check = false;
    bool no_heaps = false;
    std::string ring;
    std::string packets;
    std::string victim;
    bool figures = false;
    std::uint32_t who = 0;
};

/// The other process of "two processes": churns from "go" to "stop".
int compete(const std::string& name)
{
    pin_to(1);
    std::unique_ptr<allocator> dpdk;
    if (name == "dpdk" && !(dpdk = dpdk_malloc(role::secondary, 0, {})))
        return 1;
    const auto from = dpdk ? *dpdk : cohort_malloc(role::secondary, 0);
    cohort::test::say("ready");
    while (cohort::test::hear() == "go") {
        std::atomic<bool> stop{false};
        cohort::test::say("going");
        std::thread listener{[&] {
            static_cast<void>(cohort::test::hear());
            stop = true;
        }};
        double sum = 0;
        int rounds = 0;
        for (; !stop; ++rounds)
            sum += churn_once(from);
        listener.join();
        cohort::test::say(fmt::format("{}", sum / rounds));
    }
    return 0;
}

void measure_all(const std::vector<measurement>& list, const options& given, std::vector<row>& into)
{
    for (const auto& each : list) {
        if (each.name.find(given.filter) == std::string::npos)
            continue;
        fmt::print(stderr, "{} ...\n", each.name);
        into.push_back(run(each, given.rounds));
    }
}

/// Whether measurements whose names begin so can have been asked for.
bool any_of(const std::string& begin, const options& given)
{
    return given.filter.empty() || given.filter.find(begin) != std::string::npos;
}

/// Whether only measurements can have been asked for whose names begin with one of these.
bool any_begins(std::span<const std::string_view> begins, const options& given)
{
    return std::ranges::any_of(begins, [&](auto begin) { return given.filter.starts_with(begin); });
}

/// What needs a running EAL beside ours, of which a process has one.
void measure_beside_eal(const options& given, std::vector<row>& into)
{
    const hugetlbfs mount{dpdk_prefix};
    pin_to(0);
    const heap_context heaps{.ours = cohort_malloc(role::primary, heap_megabytes),
                             .glibc = glibc_malloc(),
                             .mimalloc = mimalloc(),
                             .dpdk = dpdk_malloc(role::primary, heap_megabytes, mount.path()),
                             .pages = "2M"};
    measure_all(heap_measurements(heaps), given, into);
    {
        packet_stage packets{heaps.dpdk != nullptr};
        measure_all(packets.measurements(), given, into);
    }
    port_stage ports{heaps.dpdk != nullptr};
    measure_all(ports.measurements(), given, into);
}

int report(const std::vector<row>& rows, const options& given)
{
    if (given.json.empty())
        fmt::print("{}", table_of(rows));
    else if (std::ofstream file{given.json}; !(file << json_of(rows)))
        throw std::runtime_error{"cannot write " + given.json};
    int missed = 0;
    for (const auto& each : rows)
        if (const auto why = each.shortfall(); given.check && !why.empty()) {
            fmt::print("UNDER TARGET {}\n", why);
            ++missed;
        }
    return missed == 0 && !rows.empty() ? 0 : 1;
}

int measure(const options& given)
{
    const cohort::test::scratch_runtime_directory rendezvous;
    const cohort::test::hugepages pages{2 * heap_megabytes / 2 + 64};
    if (!pages.available()) {
        fmt::print(stderr, "cohort_bench needs {}\n", pages.missing());
        return 77;
    }
    std::vector<row> rows;
    // First: what follows pins this process, and its children would inherit that.
    if (!any_begins(beside_heaps, given))
        measure_all(process_measurements(), given, rows);
    if (any_of("action", given)) {
        action_stage actions;
        measure_all(actions.measurements(), given, rows);
    }
    if (any_of("recovery", given)) {
        recovery_stage recovery;
        measure_all(recovery.measurements(), given, rows);
    }
    if (any_of("custody", given)) {
        custody_stage custody;
        measure_all(custody.measurements(), given, rows);
    }
    if (any_of("ring", given)) {
        ring_stage rings;
        measure_all(rings.measurements(), given, rows);
    }
    if (any_of("lock", given)) {
        pin_to(0);
        lock_stage locks;
        measure_all(locks.measurements(), given, rows);
    }
    if (any_of("copy", given)) {
        pin_to(0);
        measure_all(copy_measurements_any(), given, rows);
        measure_all(copy_measurements_native(), given, rows);
    }
    if (!given.no_heaps && !any_begins(beside_heaps, given) && !any_begins(without_heaps, given))
        measure_beside_eal(given, rows);
    return report(rows, given);
}

}  // namespace

int main(int argc, char** argv)
{
    options given;
    CLI::App program{"Measures cohort beside its peers, alternating in one run."};
    program.add_option("--filter", given.filter, "only measurements whose name contains this");
    program.add_option("--json", given.json, "write the rows to this file as JSON");
    program.add_option("--rounds", given.rounds, "alternating rounds of each")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    program.add_flag("--check", given.check, "exit code 1 when a target is missed");
    program.add_flag("--no-heaps", given.no_heaps, "only start, attach and growth");
    program.add_option("--compete", given.compete, "be the other process: ours or dpdk");
    program.add_option("--part", given.part, "be a process of a measurement")
        ->expected(5)
        ->group("");  // not for people
    program.add_option("--action", given.action, "be a process of an action measurement")
        ->expected(5)
        ->group("");
    program.add_option("--ring", given.ring, "be a process of a ring measurement")->group("");
    program.add_option("--packets", given.packets, "be the other process of packet measurements")
        ->group("");
    program.add_option("--victim", given.victim, "be who is killed")->group("");
    program.add_flag("--figures", given.figures, "tell figures of pools and packets")->group("");
    program.add_option("--who", given.who, "which of them")->group("");
    CLI11_PARSE(program, argc, argv);
    try {
        if (!given.part.empty())
            return play(part::from(given.part));
        if (!given.action.empty())
            return play_action(action_part::from(given.action));
        if (!given.ring.empty())
            return play_ring(given.ring, given.who);
        if (given.figures)
            return tell_figures();
        if (!given.victim.empty())
            return play_victim(given.victim);
        if (!given.packets.empty())
            return play_packets(given.packets == "dpdk", given.who);
        return given.compete.empty() ? measure(given) : compete(given.compete);
    } catch (const std::exception& failure) {
        fmt::print(stderr, "cohort_bench: {}\n", failure.what());
        return 1;
    }
}
