// Members that sleep: each message wakes them, and they cost nothing until it comes.

#include "process/inbox_watch.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/one_processor.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"
#include "support/skip.hpp"

#include <deque>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <time.h>
#include <unistd.h>

using namespace cohort;
using ipc::verdict;
using test::member_process;
using test::patience;
using test::scratch_domain;

namespace {

std::chrono::nanoseconds time_of_this_thread()
{
    timespec ran{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ran);
    return std::chrono::seconds{ran.tv_sec} + std::chrono::nanoseconds{ran.tv_nsec};
}

/// Nanoseconds that all threads of a process have run. Nothing where the kernel does not count
/// them.
std::optional<std::uint64_t> time_run(pid_t pid)
{
    std::uint64_t sum = 0;
    for (const auto& thread : std::filesystem::directory_iterator{std::filesystem::path{"/proc"} /
                                                                  std::to_string(pid) / "task"}) {
        std::uint64_t ran = 0;
        if (!(std::ifstream{thread.path() / "schedstat"} >> ran))
            return std::nullopt;
        sum += ran;
    }
    return sum;
}

}  // namespace

TEST_CASE("a message wakes its receiver at whatever moment of falling asleep it comes",
          "[actions][sleep]")
{
    scratch_domain domain;
    member_process receiver{"receiver"};
    receiver.tell("offer ping");
    const auto member = domain->actions().find_member("receiver").value();
    const test::inbox_watch inbox{
        *domain,
        member.id,
        {test::thread_of(*domain, member.id, receiver.process().pid(), "dispatcher")}};
    auto random = test::random_engine("sleep");
    // From when it has taken a message until it sleeps, and beyond.
    std::uniform_int_distribution<int> nanoseconds{0, 5'000};
    const auto messages = test::scaled(100'000, 10'000'000);
    std::uint64_t refused = 0;
    std::uint64_t lost = 0;

    for (std::uint64_t i = 0; i != messages; ++i) {
        test::spin_for(std::chrono::nanoseconds{nanoseconds(random)});
        refused += domain->actions().send(member, "ping") != 1;
        lost += inbox.misses_one() ? 1 : 0;
    }

    CHECK(refused == 0);
    CHECK(lost == 0);
}

TEST_CASE("who asks leaves the processor to one who was woken on it and is to answer",
          "[actions][sleep]")
{
    const test::one_processor both_here;
    scratch_domain domain;
    member_process answers{"answers"};
    answers.tell("offer ping");
    const auto member = domain->actions().find_member("answers").value();
    // A look that is not given up takes 60 us of the processor, however busy others keep it.
    constexpr auto long_look = 40us;
    int long_looks = 0;

    for (int i = 0; i != 1000; ++i) {
        std::this_thread::sleep_for(1ms);  // the other falls asleep
        const auto before = time_of_this_thread();
        REQUIRE(domain->actions().request(member, "ping", "x", patience).what == verdict::replied);
        long_looks += time_of_this_thread() - before > long_look ? 1 : 0;
    }

    // Nearly all of them would be. On a busy machine some are that long for other reasons.
    if (!test::slow_sanitizer)  // whose checks take longer
        CHECK(long_looks < 500);
}

TEST_CASE("eight idle members hardly need a processor", "[actions][sleep]")
{
    scratch_domain domain;
    std::deque<member_process> members;
    for (int i = 1; i != 8; ++i)
        members.emplace_back("idle " + std::to_string(i));
    std::vector<pid_t> processes{::getpid()};
    for (auto& each : members)
        processes.push_back(each.process().pid());
    const auto run_by_all = [&] {
        std::uint64_t sum = 0;
        for (const auto pid : processes)
            sum += time_run(pid).value();
        return sum;
    };
    COHORT_SKIP_UNLESS(time_run(::getpid()), "a kernel that counts the time of threads");
    const auto time = test::full_scale() ? 30s : 2s;

    std::this_thread::sleep_for(200ms);  // news of those who joined have been heard
    const auto before = run_by_all();
    std::this_thread::sleep_for(time);
    const auto ran = std::chrono::nanoseconds{run_by_all() - before};

    // A hundredth, alone. Beside other tests, which share processors and caches, and with a
    // sanitizer's checks, the same wake-ups take longer.
    const int share = test::slow_sanitizer ? 10 : test::full_scale() ? 100 : 30;
    CHECK(ran < std::chrono::nanoseconds{time} / share);
}
