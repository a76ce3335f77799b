// talker DOMAIN NAME SEED: a member that answers "late", and asks when told. Says "ready". Answers
// to "late" come after a random time, up to that in which who asks looks for them and falls asleep.
// Told a number, it asks the primary that often for "ping", each time a moment after the answer,
// and says how many were not answered.

#include "cohort/base/cache_line.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <random>
#include <string>

#include <fmt/format.h>

namespace {

using namespace cohort;

constexpr auto patience = 30s;

class random_pause {
public:
    random_pause(std::uint64_t seed, std::chrono::nanoseconds longest)
        : random_{seed}
        , time_{0, longest.count()}
    {
    }
    void operator()()
    {
        const auto until = steady_clock::now() + std::chrono::nanoseconds{time_(random_)};
        while (steady_clock::now() < until)
            cpu_relax();
    }

private:
    std::mt19937_64 random_;
    std::uniform_int_distribution<std::int64_t> time_;
};

void talk(const std::string& name, const std::string& self, std::uint64_t seed)
{
    random_pause before_answer{seed, 100us};
    random_pause before_request{seed, 5us};
    const auto domain = secondary::attach(name, patience, self);
    auto& actions = domain->actions();
    actions.on("late", [&](ipc::message& received) {
        before_answer();
        received.reply("pong");
    });
    test::say("ready");
    for (auto line = test::hear(); !line.empty(); line = test::hear()) {
        std::uint64_t unanswered = 0;
        const auto primary = actions.find_primary().value();
        for (auto left = std::stoull(line); left != 0; --left) {
            before_request();
            unanswered +=
                actions.request(primary, "ping", "", patience).what != ipc::verdict::replied;
        }
        test::say(std::to_string(unanswered));
    }
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 4)
        return 2;
    try {
        talk(argv[1], argv[2], std::stoull(argv[3]));
        return 0;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "talker: {}\n", failure.what());
        return 1;
    }
}
