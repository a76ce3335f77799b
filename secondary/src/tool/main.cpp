// cohort: looks at a domain from outside. It maps the region for reading, holds nothing, and may be
// run, stopped and killed at any moment.

#include "cohort/base/error.hpp"
#include "cohort/memory/memseg_walk.hpp"
#include "cohort/secondary/secondary.hpp"
#include "doctor.hpp"
#include "handover.hpp"
#include "metrics.hpp"
#include "reports.hpp"
#include "top.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

using cohort::tool::table;

struct arguments {
    std::string domain = "default";
    std::string pool;
    std::string svg;
    std::vector<std::string> options;
    std::string listen;
    double interval_s = 1;
    unsigned rounds = 0;
    bool json = false;
    bool dead_only = false;
    bool map = false;
    bool dump = false;
    bool dry_run = false;
};

int print(const arguments& given, const table& shown, const std::string& empty)
{
    fmt::print("{}", given.json ? shown.as_json().dump(2) + "\n" : shown.as_text(empty));
    return 0;
}

int print_audit(const arguments& given, const cohort::region_layout& region)
{
    const auto report = cohort::audit(cohort::audited(region));
    const auto pools = cohort::tool::list_audit(report);
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
    file << cohort::tool::picture_of_memory(region) << std::flush;
    if (!file)
        throw cohort::error{cohort::errc::system,
                            fmt::format("cannot write {}: {}; name a file that can be written",
                                        path, cohort::describe_errno(errno))};
    return 0;
}

/// The lists, then who has what of them. What an observer cannot see is said, not left out.
int print_shares(const arguments& given, const cohort::region_layout& region)
{
    namespace tool = cohort::tool;
    const auto lists = tool::list_memory(region);
    const auto members = tool::list_member_shares(region);
    const auto types = tool::list_type_shares(region);
    const auto external = tool::list_external_heaps(region);
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
    namespace tool = cohort::tool;
    if (!given.svg.empty())
        return write_picture(given.svg, region);
    if (given.map || given.dump) {
        fmt::print("{}", given.map ? tool::map_of_memory(region)
                                   : cohort::describe_memory(region.memory));
        return 0;
    }
    if (given.dead_only)
        return print(given, tool::list_blocks(region, true), "no used blocks");
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

int run(const CLI::App& program, const arguments& given)
{
    namespace tool = cohort::tool;
    if (program.got_subcommand("handover"))
        tool::become_successor(given.domain, given.options);
    if (program.got_subcommand("reap") && !given.dry_run)
        throw cohort::error{cohort::errc::invalid_argument,
                            "members reap by themselves; see what is left with --dry-run"};
    if (program.got_subcommand("doctor"))
        return print_diagnosis(given);
    if (program.got_subcommand("metrics") && !given.listen.empty()) {
        tool::serve_metrics(given.domain, given.listen);
        return 0;
    }
    const auto observer = cohort::secondary::observe(given.domain);
    const auto& region = observer.region();
    const auto command = program.get_subcommands().front()->get_name();
    if (command == "ps")
        return print(given, tool::list_members(region), "no members");
    if (command == "deaths")
        return print(given, tool::list_deaths(region), "nobody has died or left");
    if (command == "lanes")
        return print(given, tool::list_lanes(region), "no lanes");
    if (command == "zones")
        return print(given, tool::list_zones(region), "no named memory");
    if (command == "memory")
        return print_memory(given, region);
    if (command == "heaps")
        return print(given, tool::list_heaps(region), "no heaps");
    if (command == "blocks")
        return print(given, tool::list_blocks(region, given.dead_only), "no used blocks");
    if (command == "rings")
        return print(given, tool::list_rings(region), "no rings");
    if (command == "pools")
        return print(given, tool::list_pools(region), "no pools");
    if (command == "holders")
        return print(given, tool::list_holders(region, given.pool),
                     "nobody holds a buffer of this pool");
    if (command == "ports")
        return print(given, tool::list_ports(region), "no ports");
    if (command == "reap")
        return print(given, tool::list_unreaped(region, cohort::rendezvous{given.domain}),
                     "nothing is to be reaped");
    if (command == "metrics") {
        fmt::print("{}", tool::to_openmetrics(tool::collect_metrics(given.domain, region)));
        return 0;
    }
    if (command == "top") {
        const auto interval = std::chrono::duration<double>{std::max(given.interval_s, 0.01)};
        tool::show_top(observer,
                       {.domain = given.domain,
                        .interval = std::chrono::duration_cast<std::chrono::milliseconds>(interval),
                        .rounds = given.rounds,
                        .json = given.json});
        return 0;
    }
    return print_audit(given, region);
}

void declare_views(CLI::App& program, arguments& given)
{
    auto* top = program.add_subcommand(
        "top", "live view: rates, fill levels, drops, busy lanes, who holds most; q ends it");
    top->fallthrough();
    top->add_flag("--json", given.json, "a line of JSON for each round");
    top->add_option("-i,--interval", given.interval_s, "seconds between rounds")
        ->capture_default_str();
    top->add_option("-n,--rounds", given.rounds, "end after so many; 0: go on")
        ->capture_default_str();
    auto* metrics =
        program.add_subcommand("metrics", "numbers for monitoring, as OpenMetrics text");
    metrics->fallthrough();
    metrics->add_option("--listen", given.listen,
                        "serve them over HTTP at this address, e.g. 127.0.0.1:9464");
    auto* reap =
        program.add_subcommand("reap", "what the members have still to recover of the dead");
    reap->fallthrough();
    reap->add_flag("--json", given.json, "print JSON");
    reap->add_flag("--dry-run", given.dry_run, "only look; members do it by themselves");
}

void declare(CLI::App& program, arguments& given)
{
    program.add_option("-d,--domain", given.domain, "name of the domain")->capture_default_str();
    program.require_subcommand(1);
    const auto add = [&](const char* name, const char* help) {
        auto* command = program.add_subcommand(name, help);
        command->add_flag("--json", given.json, "print JSON");
        command->fallthrough();
        return command;
    };
    add("ps", "members: who is attached");
    add("deaths", "members that died or left, what they held and where it went");
    add("lanes", "attached threads");
    add("zones", "named spans of memory: memzones, rings, pools, ports, heaps");
    auto* memory =
        add("memory", "memseg lists, and who has what of them: by member, by type of block");
    auto* json = memory->get_option("--json");
    auto* map = memory->add_flag("--map", given.map, "draw the lists as text");
    auto* svg = memory->add_option("--svg", given.svg, "draw them into this file");
    auto* dump =
        memory->add_flag("--dump", given.dump, "lists, runs of pages and spans, line by line");
    auto* dead =
        memory->add_flag("--dead", given.dead_only, "heap blocks of members that are gone");
    dead->excludes(map)->excludes(svg)->excludes(dump);
    map->excludes(svg)->excludes(dump)->excludes(json);
    svg->excludes(dump)->excludes(json);
    dump->excludes(json);
    add("heaps", "heaps: arenas, bytes used and free, the largest free block");
    add("blocks", "used blocks of the heaps, by member, type and lifetime")
        ->add_flag("--dead", given.dead_only, "only of members that are gone");
    add("rings", "rings: fill, roles, stalls");
    add("pools", "pools: counts, caches");
    add("ports", "ports: driver, packets and bytes moved, errors");
    add("holders", "who holds buffers of a pool")
        ->add_option("POOL", given.pool, "name of the pool")
        ->required();
    add("doctor",
        "find out why a domain does not start, admit or grow here; exit code 1 when it cannot");
    program
        .add_subcommand(
            "handover",
            "start a cohortd in place of this command that takes over from the live one")
        ->fallthrough()
        ->add_option("OPTIONS", given.options, "more options of cohortd, after --");
    declare_views(program, given);
    add("audit", "check that every buffer is in exactly one place; exit code 1 when not");
}

/// What the user asked for in place of a command; empty when that was an option.
std::string unknown_command(const CLI::App& program)
{
    const auto left = program.remaining();
    return left.empty() || left.front().starts_with('-') ? "" : left.front();
}

int refuse(const CLI::App& program, const CLI::ParseError& wrong)
{
    const auto unknown = unknown_command(program);
    if (wrong.get_exit_code() == 0)
        return program.exit(wrong);  // --help
    if (!program.get_subcommands().empty() || unknown.empty()) {
        fmt::print(stderr, "cohort: {}; see \"cohort --help\"\n", wrong.what());
        return static_cast<int>(cohort::errc::invalid_argument);
    }
    std::string commands;
    for (const auto* command : program.get_subcommands({}))
        commands += (commands.empty() ? "" : ", ") + command->get_name();
    fmt::print(stderr, "cohort: there is no command \"{}\"; the commands are {}\n", unknown,
               commands);
    return static_cast<int>(cohort::errc::invalid_argument);
}

/// A report that did not reach its reader is a failure, whatever it says.
int end_of_output(int code)
{
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0)
        return code;
    throw cohort::error{cohort::errc::system,
                        fmt::format("cannot write the report to standard output: {}",
                                    cohort::describe_errno(errno))};
}

}  // namespace

int main(int argc, char** argv)
{
    arguments given;
    CLI::App program{"Looks at a cohort domain; never changes it."};
    declare(program, given);
    try {
        program.parse(argc, argv);
    } catch (const CLI::ParseError& wrong) {
        return refuse(program, wrong);
    }
    try {
        return end_of_output(run(program, given));
    } catch (const cohort::error& refused) {
        fmt::print(stderr, "cohort: {}\n", refused.what());
        return refused.exit_code();
    } catch (const std::exception& failure) {
        fmt::print(stderr, "cohort: {}\n", failure.what());
        return 1;
    }
}
