// What is written about the programs is what they do: manual pages, exit codes, completion.

#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "process/shown_by.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

std::string text_of(const std::filesystem::path& file)
{
    std::ifstream in{file};
    REQUIRE(in);
    return {std::istreambuf_iterator<char>{in}, {}};
}

std::string printed_by(const std::string& program, const std::vector<std::string>& arguments)
{
    auto child = child_process::spawn(program, arguments);
    std::string text;
    while (const auto line = child.read_line(patience))
        text += *line + "\n";
    CHECK(child.wait(patience) == exit_status{});
    return text;
}

std::set<std::string> all_matches(const std::string& text, const std::string& pattern)
{
    const std::regex wanted{pattern};
    std::set<std::string> found;
    for (std::sregex_iterator match{text.begin(), text.end(), wanted}, last; match != last; ++match)
        found.insert((*match)[1]);
    return found;
}

const std::filesystem::path root{COHORT_SOURCE_ROOT};

/// The page made of what `program` says, as the build makes it.
std::string page_of(const std::string& program)
{
    const auto tests = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    const auto room = program == "cohort" ? "secondary" : "primary";
    const scratch_directory files;
    const auto page = files.path() / "page";
    auto maker = child_process::spawn(
        "/usr/bin/python3",
        {root / "docs/man/make_man.py", tests / ".." / room / program, program, "0", page});
    CHECK(maker.wait(patience) == exit_status{});
    return text_of(page);
}

}  // namespace

TEST_CASE("the manual pages have every command and option of the programs", "[manual]")
{
    for (const std::string program : {"cohort", "cohortd"}) {
        INFO(program);
        auto page = page_of(program);
        page = std::regex_replace(page, std::regex{R"(\\-)"}, "-");
        std::string help = printed_by(program, {"--help"});
        std::set<std::string> commands;
        if (program == "cohort")
            commands = all_matches(help.substr(help.find("Subcommands:")), R"(\n  ([a-z]+) )");
        for (const auto& command : commands) {
            CHECK(page.find(".SS cohort " + command + "\n") != std::string::npos);
            help += printed_by(program, {command, "--help"});
        }
        const auto options = all_matches(help, R"((--[a-z][a-z-]+))");
        CHECK(options.size() > 5);
        for (const auto& option : options) {
            INFO(option);
            CHECK(page.find(option) != std::string::npos);
        }
    }
}

TEST_CASE("the manual lists each exit code that the programs have", "[manual]")
{
    const auto codes = all_matches(text_of(root / "runtime/include/cohort/base/error.hpp"),
                                   R"(\n    [a-z_]+ = (\d+),)");
    const auto listed = all_matches(text_of(root / "docs/man/cohort.7"), R"(\.B (\d+)\n)");

    CHECK(codes.size() > 15);
    for (const auto& code : codes) {
        INFO(code);
        CHECK(listed.contains(code));
    }
    CHECK(listed.size() == codes.size() + 2);  // 0 and 1
}

TEST_CASE("bash completes commands, options, domains and pools", "[manual]")
{
    const living_domain domain;
    const auto member = secondary::attach(domain.name(), patience, "maker");
    member->create_pktmbuf_pool("packets", {.count = 32, .cache_size = 8});
    const auto secondary_room =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../secondary";
    const auto completed = [&](const std::string& arguments) {
        const std::string script = "PATH=" + secondary_room.string() + ":$PATH; . " +
                                   (root / "secondary/completion/cohort.bash").string() +
                                   "; COMP_WORDS=(" + arguments +
                                   "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _cohort; "
                                   "printf '%s ' \"${COMPREPLY[@]}\"; echo";
        return printed_by("/bin/bash", {"-c", script});
    };

    CHECK_THAT(completed("cohort ho"), Catch::Equals("holders \n"));
    CHECK_THAT(completed("cohort d"), Catch::Contains("deaths") && Catch::Contains("doctor"));
    CHECK_THAT(completed("cohort top --j"), Catch::Equals("--json \n"));
    CHECK_THAT(completed("cohort -d al"), Catch::Equals("alive \n"));
    CHECK_THAT(completed("cohort -d alive holders p"), Catch::Equals("packets \n"));
}

TEST_CASE("the service unit runs cohortd with options that it has", "[manual]")
{
    const auto unit = text_of(root / "primary/systemd/cohortd@.service.in");
    const auto help = printed_by("cohortd", {"--help"});

    CHECK_THAT(unit, Catch::Contains("Type=notify\n") && Catch::Contains("\nWatchdogSec="));
    const auto command = unit.substr(unit.find("ExecStart="));
    const auto options = all_matches(command.substr(0, command.find('\n')), R"( (--[a-z-]+))");
    CHECK(options.contains("--domain"));
    for (const auto& option : options)
        CHECK(help.find(option) != std::string::npos);
}

}  // namespace cohort::test
