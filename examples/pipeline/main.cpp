// One program, six parts: see README.md for how they play together.

#include "cohort/base/error.hpp"
#include "stages.hpp"

#include <cstdio>
#include <functional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

/// Wrong input is the user's to mend, like a wrong option: exit code 2 for both.
int exit_code_of(const cohort::error& failure)
{
    return failure.reason() == cohort::errc::bad_input ? 2 : failure.exit_code();
}

CLI::App* add_part(CLI::App& program, const std::string& name, const std::string& what,
                   std::string& domain)
{
    auto* part = program.add_subcommand(name, what);
    part->add_option("--domain", domain, "domain that cohortd serves")->capture_default_str();
    return part;
}

struct command_line {
    pipeline::setup_options setup;
    pipeline::stage_options stage;
    unsigned index = 0;
    std::uint32_t linger_us = 0;
    pipeline::await_options await;
    pipeline::report_options report;
    std::function<int()> chosen;

    void add_setup(CLI::App& program)
    {
        auto* part =
            add_part(program, "setup", "create the pool, the rings and the port", setup.domain);
        part->add_option("--pcap", setup.input, "capture to read")->required();
        part->add_option("--out", setup.output, "capture to write")->required();
        part->add_option("--workers", setup.workers, "number of workers")->capture_default_str();
        part->add_option("--loops", setup.loops, "how often to read it")->capture_default_str();
        part->callback([this] { chosen = [this] { return pipeline::set_up(setup); }; });
    }

    CLI::App* add_stage(CLI::App& program, const std::string& name, const std::string& what,
                        std::function<int()> run)
    {
        auto* part = add_part(program, name, what, stage.domain);
        part->add_option("--name", stage.name, "name of this member")->required();
        part->callback([this, run] { chosen = run; });
        return part;
    }

    void add_stages(CLI::App& program)
    {
        add_stage(program, "reader", "capture file to workers",
                  [this] { return pipeline::run_reader(stage); });
        auto* worker = add_stage(program, "worker", "lower the TTL of each packet by one", [this] {
            return pipeline::run_worker(stage, index, std::chrono::microseconds{linger_us});
        });
        worker->add_option("--index", index, "which of the workers, from 0")->required();
        worker->add_option("--linger-us", linger_us, "hold each burst so long")
            ->capture_default_str();
        add_stage(program, "writer", "workers to capture file",
                  [this] { return pipeline::run_writer(stage); });
    }

    void add_observers(CLI::App& program)
    {
        auto* wait = add_part(program, "await", "wait until a member holds packets", await.domain);
        wait->add_option("--member", await.victim, "name of the member")->required();
        wait->add_option("--after-percent", await.after_percent, "of the packets written first");
        wait->add_flag("--kill", await.kill, "kill -9 the member then");
        wait->callback([this] { chosen = [this] { return pipeline::await_holding(await); }; });
        auto* show =
            add_part(program, "report", "print what the region knows of the run", report.domain);
        show->add_flag("--json", report.json, "as JSON");
        show->callback([this] { chosen = [this] { return pipeline::report(report); }; });
    }
};

}  // namespace

int main(int argc, char** argv)
{
    CLI::App program{"Packets through several processes without a copy", "pipeline"};
    program.require_subcommand(1);
    command_line line;
    line.add_setup(program);
    line.add_stages(program);
    line.add_observers(program);
    try {
        program.parse(argc, argv);
    } catch (const CLI::ParseError& wrong) {
        return program.exit(wrong) == 0 ? 0 : 2;
    }
    try {
        pipeline::stop_on_signals();
        return line.chosen();
    } catch (const cohort::error& failure) {
        fmt::print(stderr, "pipeline: {}\n", failure.what());
        return exit_code_of(failure);
    } catch (const std::exception& failure) {
        fmt::print(stderr, "pipeline: {}\n", failure.what());
        return 1;
    }
}
