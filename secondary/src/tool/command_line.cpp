#include "command_line.hpp"

#include "cohort/base/error.hpp"

#include <cstdio>

#include <fmt/format.h>

namespace cohort::tool {
namespace {

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
    auto* json = metrics->add_flag("--json", given.json, "print JSON");
    metrics
        ->add_option("--listen", given.listen,
                     "serve them over HTTP at this address, e.g. 127.0.0.1:9464")
        ->excludes(json);
}

void declare_calls(CLI::App& program, arguments& given)
{
    const auto add = [&](const char* name, const char* help) {
        auto* command = program.add_subcommand(name, help);
        command->fallthrough();
        command->add_flag("--json", given.json, "print JSON");
        command->add_option("--timeout", given.timeout_ms, "milliseconds to wait for the answer")
            ->capture_default_str();
        return command;
    };
    add("query", "ask for state in JSON, as DPDK's telemetry does; / lists the paths")
        ->add_option("PATH", given.path, "path, perhaps with parameters: /ring/info,NAME")
        ->required();
    auto* calls = add("call", "ask a member for an action of its own; exit code 1 when it refuses");
    calls->add_option("MEMBER", given.member, "its name")->required();
    calls->add_option("ACTION", given.action, "name of the action")->required();
    calls->add_option("TEXT", given.text, "what to send, e.g. JSON");
}

/// What the user asked for in place of a command; empty when that was an option.
std::string unknown_command(const CLI::App& program)
{
    const auto left = program.remaining();
    return left.empty() || left.front().starts_with('-') ? "" : left.front();
}

}  // namespace

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
    add("stages", "stages of staged rings: what lies in them, who holds the oldest elements");
    add("pools", "pools: counts, caches");
    add("ports",
        "ports: driver, state, packets and bytes moved, errors, missed, MTU, who captures");
    add("queues", "queues of the ports: who polls them, pools, and the same counters");
    auto* holders = add("holders", "who holds buffers of a pool");
    holders->add_option("POOL", given.pool, "name of the pool")->required();
    holders
        ->add_option("--older-than", given.older_than_s,
                     "look for so many seconds, and list only what stays in the same hands")
        ->check(CLI::Range(0.01, 86400.0));
    add("doctor",
        "find out why a domain does not start, admit or grow here; exit code 1 when it cannot");
    program
        .add_subcommand(
            "handover",
            "start a cohortd in place of this command that takes over from the live one")
        ->fallthrough()
        ->add_option("OPTIONS", given.options, "more options of cohortd, after --");
    declare_capture(program, given.capture);
    declare_views(program, given);
    add("reap", "what the members have still to recover of the dead")
        ->add_flag("--dry-run", given.dry_run, "only look; members do it by themselves");
    add("actions", "actions that members offer");
    declare_calls(program, given);
    add("events", "what happens in the next second, line by line")
        ->add_flag("--follow", given.follow, "until it is ended");
    add("audit", "check that every buffer is in exactly one place; exit code 1 when not");
}

int refuse(const CLI::App& program, const CLI::ParseError& wrong)
{
    const auto unknown = unknown_command(program);
    if (wrong.get_exit_code() == 0)
        return program.exit(wrong);  // --help
    if (!program.get_subcommands().empty() || unknown.empty()) {
        fmt::print(stderr, "cohort: {}; see \"cohort --help\"\n", wrong.what());
        return static_cast<int>(errc::invalid_argument);
    }
    std::string commands;
    for (const auto* command : program.get_subcommands({}))
        commands += (commands.empty() ? "" : ", ") + command->get_name();
    fmt::print(stderr, "cohort: there is no command \"{}\"; the commands are {}\n", unknown,
               commands);
    return static_cast<int>(errc::invalid_argument);
}

}  // namespace cohort::tool
