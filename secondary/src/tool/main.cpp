// cohort: looks at a domain from outside, and may be run, stopped and killed at any moment. It maps
// the region for reading and holds nothing; capturing a port alone makes it a member.

#include "capture.hpp"
#include "cohort/base/error.hpp"
#include "cohort/ipc/reports.hpp"
#include "cohort/memory/memseg_walk.hpp"
#include "cohort/secondary/secondary.hpp"
#include "command_line.hpp"
#include "doctor.hpp"
#include "events.hpp"
#include "handover.hpp"
#include "holders.hpp"
#include "metrics.hpp"
#include "report.hpp"
#include "top.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

using cohort::ipc::table;
using cohort::tool::arguments;

int print(const arguments& given, const table& shown, const std::string& empty)
{
    fmt::print("{}", given.json ? shown.as_json().dump(2) + "\n" : shown.as_text(empty));
    return 0;
}

int print_audit(const arguments& given, const cohort::region_mapping& region)
{
    const auto report = cohort::audit(region);
    const auto pools = cohort::ipc::list_audit(report);
    if (given.json) {
        const nlohmann::json all{
            {"clean", report.clean()}, {"pools", pools.as_json()}, {"faults", report.faults}};
        fmt::print("{}\n", all.dump(2));
    } else {
        fmt::print("{}", pools.as_text("no pools"));
        for (const auto& fault : report.faults)
            fmt::print("fault: {}\n", fault);
        fmt::print("{}\n",
                   report.clean() ? "clean" : fmt::format("{} faults", report.faults.size()));
    }
    return report.clean() ? 0 : 1;
}

int write_picture(const std::string& path, const cohort::region_layout& region)
{
    std::ofstream file{path};
    file << cohort::ipc::picture_of_memory(region) << std::flush;
    if (!file)
        throw cohort::error{cohort::errc::system,
                            fmt::format("cannot write {}: {}; name a file that can be written",
                                        path, cohort::describe_errno(errno))};
    return 0;
}

/// The lists, then who has what of them. What an observer cannot see is said, not left out.
int print_shares(const arguments& given, const cohort::region_layout& region)
{
    namespace ipc = cohort::ipc;
    const auto lists = ipc::list_memory(region);
    const auto members = ipc::list_member_shares(region);
    const auto types = ipc::list_type_shares(region);
    const auto external = ipc::list_external_heaps(region);
    if (given.json) {
        const nlohmann::json all{{"lists", lists.as_json()},
                                 {"members", members.as_json()},
                                 {"types", types.as_json()},
                                 {"external_heaps", external.as_json()}};
        fmt::print("{}\n", all.dump(2));
        return 0;
    }
    fmt::print("{}\n{}\n{}", lists.as_text("no memseg lists"),
               members.as_text("no spans, no blocks"), types.as_text("no used blocks"));
    if (!external.rows.empty())
        fmt::print("\nblocks in external heaps are not counted above:\n{}", external.as_text(""));
    return 0;
}

int print_memory(const arguments& given, const cohort::region_layout& region)
{
    namespace ipc = cohort::ipc;
    if (!given.svg.empty())
        return write_picture(given.svg, region);
    if (given.map || given.dump) {
        fmt::print("{}",
                   given.map ? ipc::map_of_memory(region) : cohort::describe_memory(region.memory));
        return 0;
    }
    if (given.dead_only)
        return print(given, ipc::list_blocks(region, true), "no used blocks");
    return print_shares(given, region);
}

/// 0, or 1 when something keeps a domain from working.
int print_diagnosis(const arguments& given)
{
    namespace tool = cohort::tool;
    const auto found = tool::examine(given.domain);
    fmt::print("{}", given.json ? tool::to_json(found).dump(2) + "\n" : tool::to_text(found));
    return std::any_of(found.begin(), found.end(),
                       [](const auto& each) { return each.found.how_bad == tool::gravity::fault; });
}

/// The answer of one member: what it replied, or why not and exit code 1.
int call(const arguments& given, const cohort::secondary::observer& observer)
{
    namespace ipc = cohort::ipc;
    const auto to = observer.find_member(given.member);
    if (!to)
        throw cohort::error{
            cohort::errc::not_found,
            fmt::format("no member named \"{}\" lives; \"cohort ps\" lists them", given.member)};
    const auto answer = observer.request(*to, given.action, given.text,
                                         std::chrono::milliseconds{given.timeout_ms});
    const bool replied = answer.what == ipc::verdict::replied;
    if (given.json) {
        const nlohmann::json all{{"member", given.member},
                                 {"action", given.action},
                                 {"verdict", ipc::to_text(answer.what)},
                                 {"text", answer.text()}};
        fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
        return replied ? 0 : 1;
    }
    if (replied) {
        fmt::print("{}\n", answer.text());
        return 0;
    }
    fmt::print(stderr, "cohort: {}{}{}\n", ipc::to_text(answer.what),
               answer.payload.empty() ? "" : ": ", answer.text());
    return 1;
}

int print_events(const arguments& given, const cohort::region_layout& region)
{
    using cohort::tool::event_format;
    return cohort::tool::print_events(region, given.json ? event_format::json : event_format::text,
                                      given.follow ? cohort::deadline::max()
                                                   : cohort::deadline_in(std::chrono::seconds{1}));
}

int query(const arguments& given, const cohort::secondary::observer& observer)
{
    const auto answer = observer.query(given.path, std::chrono::milliseconds{given.timeout_ms});
    fmt::print("{}\n", nlohmann::json::parse(answer).dump(2));
    return 0;
}

struct listing {
    table (*list)(const cohort::region_layout& region);
    const char* empty;
};

/// Commands that print one table of the region.
const std::map<std::string, listing, std::less<>> listings{
    {"ps", {cohort::ipc::list_members, "no members"}},
    {"deaths", {cohort::ipc::list_deaths, "nobody has died or left"}},
    {"lanes", {cohort::ipc::list_lanes, "no lanes"}},
    {"zones", {cohort::ipc::list_zones, "no named memory"}},
    {"heaps", {cohort::ipc::list_heaps, "no heaps"}},
    {"rings", {cohort::ipc::list_rings, "no rings"}},
    {"stages", {cohort::ipc::list_stages, "no staged rings"}},
    {"pools", {cohort::ipc::list_pools, "no pools"}},
    {"ports", {cohort::ipc::list_ports, "no ports"}},
    {"queues", {cohort::ipc::list_queues, "no ports"}},
    {"actions", {cohort::ipc::list_actions, "nobody offers an action"}},
};

int print_holders(const arguments& given, const cohort::region_layout& region)
{
    if (given.older_than_s <= 0)
        return print(given, cohort::ipc::list_holders(region, given.pool),
                     "nobody holds a buffer of this pool");
    return print(given,
                 cohort::tool::watch_holders(region, given.pool,
                                             std::chrono::duration<double>{given.older_than_s}),
                 "nobody holds a buffer of this pool for so long");
}

int print_metrics(const arguments& given, const cohort::region_layout& region)
{
    const auto families = cohort::tool::collect_metrics(given.domain, region);
    fmt::print("{}", given.json ? cohort::tool::to_json(families).dump(2) + "\n"
                                : cohort::tool::to_openmetrics(families));
    return 0;
}

int show_top(const arguments& given, const cohort::secondary::observer& observer)
{
    const auto interval = std::chrono::duration<double>{std::max(given.interval_s, 0.01)};
    cohort::tool::show_top(
        observer, {.domain = given.domain,
                   .interval = std::chrono::duration_cast<std::chrono::milliseconds>(interval),
                   .rounds = given.rounds,
                   .json = given.json});
    return 0;
}

/// Commands that look at a region.
int look(const std::string& command, const arguments& given)
{
    const auto observer = cohort::secondary::observe(given.domain);
    const auto& region = observer.region();
    if (const auto found = listings.find(command); found != listings.end())
        return print(given, found->second.list(region), found->second.empty);
    if (command == "memory")
        return print_memory(given, region);
    if (command == "blocks")
        return print(given, cohort::ipc::list_blocks(region, given.dead_only), "no used blocks");
    if (command == "holders")
        return print_holders(given, region);
    if (command == "reap")
        return print(given, cohort::ipc::list_unreaped(region, cohort::rendezvous{given.domain}),
                     "nothing is to be reaped");
    if (command == "metrics")
        return print_metrics(given, region);
    if (command == "top")
        return show_top(given, observer);
    if (command == "events")
        return print_events(given, region);
    if (command == "query")
        return query(given, observer);
    if (command == "call")
        return call(given, observer);
    return print_audit(given, observer.mapping());
}

int run(const CLI::App& program, const arguments& given)
{
    namespace tool = cohort::tool;
    const auto command = program.get_subcommands().front()->get_name();
    if (command == "handover")
        tool::become_successor(given.domain, given.options);
    if (command == "reap" && !given.dry_run)
        throw cohort::error{cohort::errc::invalid_argument,
                            "members reap by themselves; see what is left with --dry-run"};
    if (command == "doctor")
        return print_diagnosis(given);
    if (command == "capture")
        return tool::capture(given.domain, given.capture);
    if (command == "metrics" && !given.listen.empty()) {
        tool::serve_metrics(given.domain, given.listen);
        return 0;
    }
    return look(command, given);
}

}  // namespace

int main(int argc, char** argv)
{
    arguments given;
    CLI::App program{"Looks at a cohort domain; never changes it."};
    cohort::tool::declare(program, given);
    try {
        program.parse(argc, argv);
    } catch (const CLI::ParseError& wrong) {
        return cohort::tool::refuse(program, wrong);
    }
    try {
        return cohort::tool::report([&] { return run(program, given); });
    } catch (const cohort::error& refused) {
        fmt::print(stderr, "cohort: {}\n", refused.what());
        return refused.exit_code();
    } catch (const std::exception& failure) {
        fmt::print(stderr, "cohort: {}\n", failure.what());
        return 1;
    }
}
