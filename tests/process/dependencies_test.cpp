// .ci/dependencies.sh, which both commands of README.md begin with, beside stand-ins of dpkg,
// apt-get and id.

#include "process/attempt.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// A machine on which some packages are not installed, and some can be.
class other_machine {
public:
    other_machine()
    {
        program("dpkg-query", R"(for name; do :; done
case " $ABSENT " in *" $name "*) exit 1 ;; esac
printf installed)");
        program("apt-get", R"(echo "$*" >>"$HERE/calls"
[ "$1" != update ] || touch "$HERE/lists"
[ "$1" = update ] || [ "$APT" = works ] || { [ "$APT" = stale ] && [ -e "$HERE/lists" ]; } || {
    echo "E: Unable to locate package"
    exit 100
})");
        program("id", R"(echo "$WHO")");
    }

    /// No Debian: nothing but these stand-ins is found, and that of dpkg is gone.
    void forget_dpkg()
    {
        std::filesystem::remove(directory_.path() / "dpkg-query");
        others_.clear();
    }

    struct outcome {
        exit_status status;
        std::string output;
        std::string sentence;
        std::vector<std::string> calls;  ///< of apt-get
    };
    [[nodiscard]] outcome run(const std::string& absent, const std::string& apt = "works",
                              const std::string& who = "0")
    {
        const auto here = directory_.path().string();
        std::filesystem::remove(here + "/calls");
        std::filesystem::remove(here + "/lists");
        attempt trial{"/bin/bash",
                      {COHORT_SOURCE_ROOT "/.ci/dependencies.sh", "tests"},
                      {"PATH=" + here + others_, "HERE=" + here, "ABSENT=" + absent, "APT=" + apt,
                       "WHO=" + who}};
        outcome seen;
        while (const auto line = trial.child().read_line(std::chrono::seconds{30}))
            seen.output += *line + "\n";
        const auto result = trial.wait();
        seen.status = result.status;
        seen.sentence = result.sentence;
        std::ifstream calls{here + "/calls"};
        for (std::string line; std::getline(calls, line);)
            seen.calls.push_back(line);
        return seen;
    }

private:
    void program(const std::string& name, const std::string& text)
    {
        const auto path = directory_.path() / name;
        std::ofstream{path} << "#!/bin/sh\n" << text << "\n";
        std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    }

    scratch_directory directory_;
    std::string others_ = ":/usr/bin:/bin";
};

const std::string install = "install -qq -y --no-install-recommends spin tmux";

}  // namespace

TEST_CASE("where every package is installed nothing is asked of apt-get", "[dependencies]")
{
    other_machine machine;
    for (const auto* who : {"0", "1000"}) {
        const auto seen = machine.run("", "fails", who);
        CHECK(seen.status == exit_status{});
        CHECK(seen.output.empty());
        CHECK(seen.calls.empty());
    }
}

TEST_CASE("root has what is missing installed, with new lists of packages only if need be",
          "[dependencies]")
{
    other_machine machine;
    const auto at_once = machine.run("tmux spin other");
    CHECK(at_once.status == exit_status{});
    CHECK(at_once.output == "installing spin tmux\n");
    CHECK(at_once.calls == std::vector<std::string>{install});

    const auto later = machine.run("tmux spin", "stale");
    CHECK(later.status == exit_status{});
    CHECK(later.calls == std::vector<std::string>{install, "update -qq", install});
}

TEST_CASE("what cannot be installed is named, with what apt-get says of it", "[dependencies]")
{
    other_machine machine;
    const auto seen = machine.run("tmux spin", "fails");
    CHECK(seen.status == exit_status{.code = 1});
    CHECK_THAT(seen.sentence, Catch::Contains("E: Unable to locate package"));
    CHECK_THAT(seen.sentence, Catch::Contains("could not install spin tmux"));
}

TEST_CASE("whoever is not root is told the one line for root, and nothing is installed",
          "[dependencies]")
{
    other_machine machine;
    const auto seen = machine.run("tmux spin", "works", "1000");
    CHECK(seen.status == exit_status{.code = 3});
    CHECK(seen.output ==
          "apt-get update && apt-get install -y --no-install-recommends spin tmux\n");
    CHECK_THAT(seen.sentence, Catch::Contains("As root, run:"));
    CHECK(seen.calls.empty());
}

TEST_CASE("where there is no dpkg the packages are named, and the build goes on", "[dependencies]")
{
    other_machine machine;
    machine.forget_dpkg();
    const auto seen = machine.run("tmux spin", "fails", "1000");
    CHECK(seen.status == exit_status{});
    CHECK_THAT(seen.sentence, Catch::Contains("no dpkg here"));
    CHECK_THAT(seen.sentence, Catch::Contains("libnuma-dev") && Catch::Contains("tmux"));
    CHECK(seen.calls.empty());
}

}  // namespace cohort::test
