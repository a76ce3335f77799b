// A start that meets the end of the last primary of its name, which takes the rendezvous directory
// away.

#include "process/living_domain.hpp"
#include "support/scale.hpp"
#include "support/scratch_directory.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

TEST_CASE("a start that meets the end of the last primary succeeds, or says that it lives",
          "[start][race]")
{
    const scratch_runtime_directory directory;
    const auto times = std::to_string(scaled(70, 2000));
    const auto all_of_them = patience * scaled(1, 20);
    std::vector<child_process> starters;
    for (int i = 0; i != 3; ++i) {
        starters.push_back(child_process::spawn("starter", {"contended", times}));
        starters.back().await("ready", patience);
    }

    for (auto& starter : starters)
        starter.tell("go");

    for (auto& starter : starters) {
        CHECK(starter.read_line(all_of_them).value_or("nothing") == "done");
        CHECK(starter.wait(patience) == exit_status{});
    }
    CHECK(std::filesystem::is_empty(directory.path()));
}

}  // namespace cohort::test
