#include "cohort/base/log.hpp"

#include "support/scratch_directory.hpp"

#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <unistd.h>

namespace cohort::test {
namespace {

/// The default sink and the level as they were, at scope exit.
struct restored_log {
    log_level level = current_log_level();
    ~restored_log()
    {
        set_log_sink({});
        set_log_level(level);
    }
};

/// What `act` writes to standard error.
template <typename Act>
std::string written_to_stderr(Act act)
{
    const scratch_directory directory;
    const auto path = directory.path() / "stderr";
    const int before = ::dup(STDERR_FILENO);
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(::dup2(file, STDERR_FILENO) == STDERR_FILENO);
    act();
    ::dup2(before, STDERR_FILENO);
    ::close(before);
    ::close(file);
    std::ifstream written{path};
    return {std::istreambuf_iterator<char>{written}, {}};
}

}  // namespace

TEST_CASE("a sink gets each line of its level and above once, and none below", "[base][log]")
{
    const restored_log scope;
    std::vector<std::pair<log_level, std::string>> lines;
    set_log_sink([&](log_level level, std::string_view line) { lines.emplace_back(level, line); });
    set_log_level(log_level::warning);

    const auto aside = written_to_stderr([] {
        log(log_level::info, "member {} left", 7);
        log(log_level::warning, "member {} died", 7);
    });

    CHECK(lines ==
          std::vector<std::pair<log_level, std::string>>{{log_level::warning, "member 7 died"}});
    CHECK(aside.empty());
}

TEST_CASE("an empty log sink restores the one that writes to standard error", "[base][log]")
{
    const restored_log scope;
    int calls = 0;
    set_log_sink([&](log_level, std::string_view) { ++calls; });
    set_log_level(log_level::warning);

    set_log_sink({});

    CHECK(written_to_stderr([] { log(log_level::warning, "member {} died", 7); }) ==
          "cohort warning: member 7 died\n");
    CHECK(calls == 0);
}

TEST_CASE("the level off lets no line through", "[base][log]")
{
    const restored_log scope;
    int calls = 0;
    set_log_sink([&](log_level, std::string_view) { ++calls; });

    set_log_level(log_level::off);
    log(log_level::error, "member {} died", 7);

    CHECK(calls == 0);
}

}  // namespace cohort::test
