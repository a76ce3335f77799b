// Hunts for a wake-up that is lost: answers and requests come at each moment at which a reader may
// fall asleep, and somebody else looks whether one lies there beside a reader that sleeps.

#include "process/inbox_watch.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <latch>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <poll.h>
#include <unistd.h>

using namespace cohort;
using ipc::verdict;
using test::child_process;
using test::inbox_watch;
using test::patience;
using test::scratch_domain;

namespace {

child_process start_talker(const std::string& name)
{
    auto talker = child_process::spawn(
        "talker", {"scratch", name, std::to_string(test::random_engine(name)())});
    talker.await("ready", patience);
    return talker;
}

std::filesystem::path thread_here(scratch_domain& domain, std::string_view lane)
{
    return test::thread_of(*domain, domain->self().id, ::getpid(), lane);
}

std::filesystem::path main_thread_of(const child_process& process)
{
    const auto pid = std::to_string(process.pid());
    return std::filesystem::path{"/proc"} / pid / "task" / pid;
}

/// Looks at the inbox of this member all the time, and counts how often everybody sleeps beside
/// a message.
class watcher {
public:
    watcher(scratch_domain& domain, std::vector<std::filesystem::path> threads)
        : inbox_{*domain, domain->self().id, std::move(threads)}
    {
    }
    ~watcher() { end(); }
    watcher(const watcher&) = delete;
    watcher& operator=(const watcher&) = delete;

    [[nodiscard]] std::uint64_t lost()
    {
        end();
        return lost_;
    }

private:
    void end()
    {
        ended_ = true;
        if (thread_.joinable())
            thread_.join();
    }

    inbox_watch inbox_;
    std::atomic<bool> ended_{false};
    std::uint64_t lost_ = 0;
    std::thread thread_{[this] {
        while (!ended_) {
            lost_ += inbox_.misses_one() ? 1 : 0;
            std::this_thread::sleep_for(100us);
        }
    }};
};

}  // namespace

TEST_CASE("an answer wakes who asked at whatever moment of falling asleep it comes",
          "[actions][sleep]")
{
    const std::size_t askers = GENERATE(1u, 3u);
    scratch_domain domain;
    auto talker = start_talker("talker");
    const auto member = domain->actions().find_member("talker").value();
    const auto requests = test::scaled(30'000, 5'000'000) / askers;
    std::atomic<std::uint64_t> unanswered{0};
    std::vector<std::filesystem::path> all(askers);
    std::latch listed{static_cast<std::ptrdiff_t>(askers) + 1};

    std::vector<std::jthread> threads;
    for (auto& self : all)
        threads.emplace_back([&] {
            self = "/proc/self/task/" + std::to_string(::gettid());
            listed.arrive_and_wait();
            for (auto left = requests; left != 0; --left)
                unanswered += domain->actions().request(member, "late", "", patience).what !=
                              verdict::replied;
        });
    listed.arrive_and_wait();
    all.push_back(thread_here(domain, "dispatcher"));
    all.push_back(test::thread_of(*domain, member.id, talker.pid(), "dispatcher"));
    watcher inbox{domain, all};
    for (auto& each : threads)
        each.join();

    CHECK(unanswered == 0);
    CHECK(inbox.lost() == 0);
}

TEST_CASE("a request wakes who sleeps on the descriptor of its loop, whenever it comes",
          "[actions][sleep][poll]")
{
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dispatch = ipc::dispatching::by_caller}};
    domain->actions().on("ping", [](ipc::message& received) { received.reply("pong"); });
    const std::jthread loop{[&](const std::stop_token& ended) {
        domain->enter_lane("loop");
        while (!ended.stop_requested()) {
            pollfd readable{domain->poll_fd(), POLLIN, 0};
            ::poll(&readable, 1, 1000);
            domain->poll();
        }
    }};
    auto talker = start_talker("talker");
    const auto requests = test::scaled(60'000, 10'000'000);
    watcher inbox{domain, {thread_here(domain, "loop"), main_thread_of(talker)}};

    talker.tell(std::to_string(requests));
    CHECK(talker.read_line(std::chrono::hours{1}) == "0");

    CHECK(inbox.lost() == 0);
}
