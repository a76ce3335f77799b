// cohortd: a primary and nothing else. It holds memory, admits, reaps and answers; it has no reason
// to crash, and when it is killed all the same, the next one adopts.

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/primary/option_text.hpp"
#include "cohort/primary/primary.hpp"
#include "service_manager.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

struct arguments {
    std::string domain = "default";
    std::string memory = "64M";
    std::string numa_mem;
    std::string numa_limit;
    std::string page_limits;
    std::string huge = "auto";
    std::string huge_dir;
    std::string window;
    std::string window_base;
    std::string log_level;
    std::uint32_t max_zones = cohort::usual_zones;
    unsigned emulated_nodes = 0;
    bool transparent = false;
    double shut_down_s = 0;
    double timeout_s = 5;
    bool adopt = false;
    bool fresh = false;
    bool automatic = false;
    bool hand_over = false;
    std::string group;
    bool telemetry = false;
};

void declare_memory(CLI::App& program, arguments& given)
{
    auto* memory =
        program
            .add_option("-m,--memory", given.memory,
                        "segment memory to start with, e.g. 256M or 2G; it grows on demand")
            ->capture_default_str();
    program
        .add_option("--numa-mem", given.numa_mem,
                    "the same for each node, e.g. 512,512 (MiB) or 1G,0")
        ->excludes(memory);
    program.add_option("--numa-limit", given.numa_limit,
                       "most memory of each node, e.g. 1G,512; 0 = no limit");
    program.add_option("--pagesz-mem", given.page_limits,
                       "most memory in pages of a size, e.g. 2M:512M,4K:1G");
    program.add_option("--huge", given.huge, "pages: auto, 2M, 1G or none")->capture_default_str();
    program.add_option("--huge-dir", given.huge_dir,
                       "take hugepages from this hugetlbfs, or from one that is found (auto)");
    program.add_flag("--thp", given.transparent,
                     "transparent hugepages for the 4 KiB pages, where they are allowed");
    program.add_option("--emulate-nodes", given.emulated_nodes,
                       "as if the machine had 1 to 8 NUMA nodes");
}

void declare_takeover(CLI::App& program, arguments& given)
{
    auto* ways = program.add_option_group("what to do about members that live already");
    ways->add_flag("--auto", given.automatic,
                   "adopt them, or start afresh when there are none; the default");
    ways->add_flag("--adopt", given.adopt, "only take over members of a dead primary");
    ways->add_flag("--fresh", given.fresh, "refuse when such members live");
    ways->add_flag("--hand-over", given.hand_over,
                   "ask the live primary to hand over, which then ends; adopt when it is dead");
    ways->require_option(0, 1);
    program
        .add_option("--timeout", given.timeout_s,
                    "seconds for members to answer an adopter, a primary to hand over, or another "
                    "start to finish")
        ->check(CLI::Range(0.1, 3600.0))
        ->capture_default_str();
    program.add_option(
        "--shut-down", given.shut_down_s,
        "when asked to end, ask the members to leave first and wait for them so many "
        "seconds; 0: leave them to the next primary");
}

void declare(CLI::App& program, arguments& given)
{
    program.add_option("-d,--domain", given.domain, "name of the domain")->capture_default_str();
    declare_memory(program, given);
    program.add_option(
        "--window", given.window,
        "address space of the domain, e.g. 256G; default 64G, or what --memory needs");
    program.add_option("--window-base", given.window_base,
                       "address of the window, e.g. 0x551000000000");
    program.add_option("--max-zones", given.max_zones, "names of all kinds together")
        ->capture_default_str();
    program.add_option("--group", given.group,
                       "who may take part besides this user: a group, by name or number");
    program.add_flag("--telemetry", given.telemetry,
                     "serve DPDK's telemetry clients (dpdk-telemetry.py -f DOMAIN)");
    program.add_option("--log", given.log_level, "debug, info, warning, error or off");
    declare_takeover(program, given);
}

cohort::steady_clock::duration duration_of(double seconds)
{
    return std::chrono::duration_cast<cohort::steady_clock::duration>(
        std::chrono::duration<double>{seconds});
}

cohort::primary::start_options options_from(const arguments& given)
{
    using namespace cohort;
    namespace options = primary;
    primary::start_options wanted{.name = given.domain,
                                  .member_name = "cohortd",
                                  .memory = options::parse_bytes("--memory", given.memory),
                                  .huge = options::parse_huge("--huge", given.huge),
                                  .huge_dir = given.huge_dir,
                                  .transparent_hugepages = given.transparent,
                                  .max_zones = given.max_zones,
                                  .emulated_nodes = given.emulated_nodes,
                                  .patience = duration_of(given.timeout_s)};
    if (!given.numa_mem.empty())
        wanted.node_memory = options::parse_amounts("--numa-mem", given.numa_mem);
    if (!given.numa_limit.empty())
        wanted.node_limits = options::parse_amounts("--numa-limit", given.numa_limit);
    if (!given.page_limits.empty())
        wanted.page_limits = options::parse_page_limits("--pagesz-mem", given.page_limits);
    if (!given.window.empty())
        wanted.window_bytes = options::parse_bytes("--window", given.window);
    if (!given.window_base.empty())
        wanted.window_base = options::parse_address("--window-base", given.window_base);
    if (auto level = log_level::info; !given.log_level.empty()) {
        if (!parse_log_level(given.log_level, level))
            throw error{errc::invalid_argument,
                        fmt::format("--log {} is not one of debug, info, warning, error, off",
                                    given.log_level)};
        set_log_level(level);
    }
    if (!given.group.empty())
        wanted.group = options::parse_group("--group", given.group);
    wanted.dpdk_telemetry = given.telemetry;
    wanted.existing = given.adopt       ? primary::takeover::adopt
                      : given.fresh     ? primary::takeover::fresh
                      : given.hand_over ? primary::takeover::hand_over
                                        : primary::takeover::automatic;
    wanted.handed_over = [] { ::kill(::getpid(), SIGTERM); };
    return wanted;
}

void print_ready(cohort::primary::owner& domain)
{
    const auto& region = domain.region();
    std::string pages;
    for (const auto& list : region.memory.lists) {
        const auto committed = list.published.load(std::memory_order_relaxed);  // for display
        if (list.page_bytes != 0 && committed != 0)
            pages +=
                fmt::format("{}{} in {} pages on node {}", pages.empty() ? "" : " and ",
                            cohort::bytes_text(committed),
                            cohort::to_text(cohort::page_size{list.page_bytes}), list.numa_node);
    }
    fmt::print("cohortd: domain \"{}\" is {}: pid {}, {}, window {:#x}\n", domain.name(),
               domain.adopted() ? "adopted" : "ready", ::getpid(), pages,
               region.header.window_base);
    std::fflush(stdout);
}

/// False when `interval` has passed without one of those signals.
bool await_end(const sigset_t& ends, std::chrono::microseconds interval)
{
    const auto seconds = std::chrono::floor<std::chrono::seconds>(interval);
    const timespec wait{.tv_sec = seconds.count(),
                        .tv_nsec = std::chrono::nanoseconds{interval - seconds}.count()};
    return ::sigtimedwait(&ends, nullptr, &wait) > 0;
}

/// 0, or 1 when members stayed.
int shut_down(cohort::primary::owner& domain, double patience_s)
{
    if (patience_s <= 0 || domain.handed_over())
        return 0;
    const auto left = domain.shut_down(cohort::deadline_in(duration_of(patience_s)));
    if (left.empty())
        return 0;
    fmt::print(stderr,
               "cohortd: {} members have not left after {} s and carry on without a "
               "primary: {}; adopt them with cohortd, or end them\n",
               left.size(), patience_s, fmt::join(left, ", "));
    return 1;
}

int run(const arguments& given)
{
    // Before any thread exists, so that all of them leave these signals to sigwait below.
    sigset_t ends;
    sigemptyset(&ends);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&ends, signal);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);

    const cohort::service_manager manager;
    const auto domain = cohort::primary::start(options_from(given));
    print_ready(*domain);
    manager.tell(fmt::format("READY=1\nMAINPID={}\nSTATUS=domain {} is {}", ::getpid(),
                             domain->name(), domain->adopted() ? "adopted" : "ready"));
    std::uint64_t seen = 0;
    while (!await_end(ends, manager.watchdog_interval()))
        // A dispatcher that hangs serves nobody: then the manager shall start the next primary.
        if (const auto rounds = domain->dispatcher_rounds(); std::exchange(seen, rounds) != rounds)
            manager.tell("WATCHDOG=1");
    manager.tell("STOPPING=1");
    return shut_down(*domain, given.shut_down_s);
}

}  // namespace

int main(int argc, char** argv)
{
    arguments given;
    CLI::App program{"Holds a cohort domain: memory, admission of members, recovery of the dead."};
    declare(program, given);
    try {
        program.parse(argc, argv);
    } catch (const CLI::ParseError& wrong) {
        if (wrong.get_exit_code() == 0)
            return program.exit(wrong);  // --help
        fmt::print(stderr, "cohortd: {}; see \"cohortd --help\"\n", wrong.what());
        return static_cast<int>(cohort::errc::invalid_argument);
    }
    try {
        return run(given);
    } catch (const cohort::error& refused) {
        fmt::print(stderr, "cohortd: {}\n", refused.what());
        return refused.exit_code();
    } catch (const std::exception& failure) {
        fmt::print(stderr, "cohortd: {}\n", failure.what());
        return 1;
    }
}
