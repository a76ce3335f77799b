// cohortd: a primary and nothing else. It holds memory, admits, reaps and answers; it has no reason
// to crash, and when it is killed all the same, the next one adopts.

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/primary/primary.hpp"

#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

struct arguments {
    std::string domain = "default";
    std::size_t memory = 64;
    std::string huge = "auto";
    std::string window_base;
    std::string log_level;
    bool adopt = false;
    bool fresh = false;
};

void declare(CLI::App& program, arguments& given)
{
    program.add_option("-d,--domain", given.domain, "name of the domain")->capture_default_str();
    program
        .add_option("-m,--memory", given.memory,
                    "segment memory to start with, e.g. 256M or 2G; it grows on demand")
        ->transform(CLI::AsSizeValue{false})
        ->default_str("64M");
    program.add_option("--huge", given.huge, "pages: auto, 2M, 1G or none")->capture_default_str();
    program.add_option("--window-base", given.window_base,
                       "address of the window, e.g. 0x551000000000");
    program.add_option("--log", given.log_level, "debug, info, warning, error or off");
    auto* adopt =
        program.add_flag("--adopt", given.adopt, "only take over members of a dead primary");
    program.add_flag("--fresh", given.fresh, "refuse when such members live")->excludes(adopt);
}

std::uintptr_t address_from(const std::string& text)
{
    std::size_t read = 0;
    try {
        if (const auto address = std::stoull(text, &read, 16); read == text.size())
            return address;
    } catch (const std::logic_error&) {
        // Not a number, or too large: said below.
    }
    throw cohort::error{cohort::errc::invalid_argument,
                        fmt::format("--window-base {} is not an address in hexadecimal", text)};
}

cohort::primary::start_options options_from(const arguments& given)
{
    using namespace cohort;
    primary::start_options options{
        .name = given.domain, .member_name = "cohortd", .memory = given.memory};
    const auto huge = parse_huge_policy(given.huge);
    if (!huge)
        throw error{errc::invalid_argument,
                    fmt::format("--huge {} is not one of auto, 2M, 1G, none", given.huge)};
    options.huge = *huge;
    if (!given.window_base.empty())
        options.window_base = address_from(given.window_base);
    if (auto level = log_level::info; !given.log_level.empty()) {
        if (!parse_log_level(given.log_level, level))
            throw error{errc::invalid_argument,
                        fmt::format("--log {} is not a level", given.log_level)};
        set_log_level(level);
    }
    options.existing = given.adopt   ? primary::takeover::adopt
                       : given.fresh ? primary::takeover::fresh
                                     : primary::takeover::automatic;
    return options;
}

void print_ready(cohort::primary::owner& domain)
{
    const auto& region = domain.region();
    std::string pages;
    for (const auto& list : region.memory.lists) {
        const auto committed = list.committed.load(std::memory_order_relaxed);  // for display
        if (list.page_bytes != 0 && committed != 0)
            pages += fmt::format("{}{} in {} pages", pages.empty() ? "" : " and ",
                                 cohort::bytes_text(committed),
                                 cohort::to_text(cohort::page_size{list.page_bytes}));
    }
    fmt::print("cohortd: domain \"{}\" is {}: pid {}, {}, window {:#x}\n", domain.name(),
               domain.adopted() ? "adopted" : "ready", ::getpid(), pages,
               region.header.window_base);
    std::fflush(stdout);
}

int run(const arguments& given)
{
    // Before any thread exists, so that all of them leave these signals to sigwait below.
    sigset_t ends;
    sigemptyset(&ends);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&ends, signal);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);

    const auto domain = cohort::primary::start(options_from(given));
    print_ready(*domain);
    int signal = 0;
    sigwait(&ends, &signal);
    return 0;
}

}  // namespace

int main(int argc, char** argv)
{
    arguments given;
    given.memory = 64u << 20;
    CLI::App program{"Holds a cohort domain: memory, admission of members, recovery of the dead."};
    declare(program, given);
    try {
        program.parse(argc, argv);
    } catch (const CLI::ParseError& wrong) {
        return program.exit(wrong) == 0 ? 0 : static_cast<int>(cohort::errc::invalid_argument);
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
