// starter DOMAIN TIMES: starts the domain and ends it until that has worked TIMES times. Says
// "ready", begins when told a line, and says what it came upon besides a domain that lives; then
// "done".

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "support/conversation.hpp"

#include <filesystem>
#include <string>

namespace {

using namespace cohort;

void start_and_stop(const std::string& name)
{
    const auto domain = primary::start({.name = name, .memory = 1_MiB, .huge = huge_policy::none});
    // An owner that ends late must not take away what belongs to this one.
    for (const auto& mine : {domain->place().lock_file(), domain->place().primary_socket(),
                             domain->place().member_socket(domain->self().id)})
        if (!std::filesystem::exists(mine))
            test::say(mine + " is missing");
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 3)
        return 2;
    test::say("ready");
    static_cast<void>(test::hear());
    for (auto left = std::stoul(argv[2]); left != 0;) {
        try {
            start_and_stop(argv[1]);
            --left;
        } catch (const error& refused) {
            if (refused.reason() != errc::domain_alive)
                test::say(refused.what());
        }
    }
    test::say("done");
    return 0;
}
