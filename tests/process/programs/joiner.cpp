// joiner DOMAIN: says "ready", and when told a line starts or attaches. Says "primary", "adopter"
// or "secondary", and leaves when told another line.

#include "cohort/base/error.hpp"
#include "cohort/ipc/start_or_attach.hpp"
#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <cstdio>
#include <string>

#include <fmt/format.h>

namespace {

using namespace cohort;

std::string role_of(const ipc::started_or_attached& joined)
{
    if (joined.role == member_role::secondary)
        return "secondary";
    return dynamic_cast<const primary::owner&>(*joined.domain).adopted() ? "adopter" : "primary";
}

int join(const std::string& name)
{
    constexpr auto patience = 20s;  // many start at once, on a machine that may be busy
    const auto joined = ipc::start_or_attach(
        [&](auto left) {
            return primary::start(
                {.name = name, .memory = 8_MiB, .huge = huge_policy::none, .patience = left});
        },
        [&](auto left) { return secondary::attach(name, left); }, patience);
    test::say(role_of(joined));
    static_cast<void>(test::hear());
    return 0;
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 2)
        return 2;
    test::say("ready");
    static_cast<void>(test::hear());
    try {
        return join(argv[1]);
    } catch (const error& refused) {
        fmt::print(stderr, "joiner: {}\n", refused.what());
        return refused.exit_code();
    }
}
