#include "recovery_bench.hpp"

#include "answer.hpp"
#include "cohort/base/log.hpp"
#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "pages.hpp"
#include "support/child_process.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <vector>

#include <unistd.h>

namespace cohort::bench {
namespace {

constexpr auto domain_name = "recovery";
constexpr std::uint32_t buffers = 64 * 1024;
constexpr std::size_t deaths = 100;  // of a round

using distribution = std::vector<double>;  // sorted, microseconds

test::child_process spawn(const std::string& part)
{
    auto child = test::child_process::spawn("/proc/self/exe", {"--victim", part});
    child.await("ready", patience);
    return child;
}

[[noreturn]] void sleep_for_ever()
{
    for (;;)
        ::pause();
}

[[noreturn]] void use_for_ever(ring<std::uint64_t> shared)
{
    for (std::uint64_t value = 0;; ++value) {
        static_cast<void>(shared.enqueue(value));
        static_cast<void>(shared.dequeue(value));
    }
}

}  // namespace

int play_victim(const std::string& part)
{
    const auto domain = secondary::attach(domain_name, patience, part);
    if (part == "user") {
        pin_to(1);
        test::say("ready");
        use_for_ever(domain->find_ring<std::uint64_t>("shared").value());
    }
    std::vector<mbuf*> held(buffers);
    if (!domain->find_pktmbuf_pool("buffers")->alloc_bulk(held))
        throw std::runtime_error{"the pool does not have all its buffers"};
    test::say("ready");
    sleep_for_ever();
}

struct recovery_stage::cast {
    std::unique_ptr<primary::owner> domain =
        primary::start({.name = domain_name, .memory = 192_MiB, .huge = huge_policy::only_2m});
    pktmbuf_pool pool = domain->create_pktmbuf_pool("buffers", {.count = buffers, .cache_size = 0});
    ring<std::uint64_t> shared = domain->create_ring<std::uint64_t>("shared", 1024);
    std::vector<distribution> backs;  // by round
    std::vector<distribution> tellings;
    std::vector<distribution> gaps;

    /// From the kill until all its buffers are in the pool.
    double until_back()
    {
        auto victim = spawn("holder");
        if (pool.objects().available() != 0)
            throw std::runtime_error{"the victim does not hold all buffers"};
        const auto start = clock::now();
        victim.kill();
        while (pool.objects().available() != buffers)
            if (milliseconds_since(start) > 10'000)
                throw std::runtime_error{"buffers of the dead do not come back"};
        const auto took = microseconds_since(start);
        static_cast<void>(victim.wait(patience));
        return took;
    }
    /// From the kill until the kernel tells of the death: nobody can do anything earlier.
    double until_told()
    {
        auto victim = spawn("holder");
        const auto start = clock::now();
        victim.kill();
        static_cast<void>(victim.await_death(patience));
        const auto took = microseconds_since(start);
        static_cast<void>(victim.wait(patience));
        while (pool.objects().available() != buffers)
            std::this_thread::yield();
        return took;
    }
    /// The longest time that a call at the ring of the killed took, until 5 ms after the kill.
    double longest_call()
    {
        auto victim = spawn("user");
        const pinned here{0};
        const auto use = [&](double milliseconds) {
            double longest = 0;
            const auto start = clock::now();
            auto before = start;
            for (bool done = false; !done || milliseconds_since(start) < milliseconds;) {
                std::uint64_t value = 0;
                const bool put = shared.enqueue(value);
                done = shared.dequeue(value) && put;  // what a failure has left goes, too
                if (!done && milliseconds_since(start) > 10'000)
                    throw std::runtime_error{"the ring of the killed does not come free"};
                if (!done)
                    continue;  // behind the dead: the time goes on
                longest = std::max(longest, microseconds_since(before));
                before = clock::now();
            }
            return longest;
        };
        static_cast<void>(use(5));
        victim.kill();
        const auto longest = use(5);
        static_cast<void>(victim.wait(patience));
        return longest;
    }

    const distribution& at(std::vector<distribution>& rounds, std::size_t round,
                           double (cast::*one)())
    {
        while (round >= rounds.size()) {
            distribution taken;
            for (std::size_t i = 0; i != deaths; ++i)
                taken.push_back((this->*one)());
            std::ranges::sort(taken);
            rounds.push_back(std::move(taken));
        }
        return rounds[round];
    }
    [[nodiscard]] measurement row(std::string name, std::vector<distribution>& rounds,
                                  double (cast::*one)(), std::size_t place,
                                  std::optional<double> limit = {})
    {
        measurement made{.name = std::move(name), .unit = "us", .pages = "2M"};
        made.ours = [this, &rounds, one, place, next = std::size_t{0}]() mutable {
            return at(rounds, next++, one)[place];
        };
        made.limit = limit;
        made.most_rounds = 3;
        return made;
    }
};

recovery_stage::recovery_stage()
{
    set_log_level(log_level::error);  // each death is a warning
    cast_ = std::make_unique<cast>();
}
recovery_stage::~recovery_stage() = default;

std::vector<measurement> recovery_stage::measurements()
{
    auto& stage = *cast_;
    const auto back = &cast::until_back;
    const auto told = &cast::until_told;
    const auto gap = &cast::longest_call;
    return {
        stage.row("recovery, 64 K buffers back, p50 of 100", stage.backs, back, 50),
        stage.row("recovery, 64 K buffers back, p99", stage.backs, back, 98, 10'000),
        stage.row("recovery, 64 K buffers back, max", stage.backs, back, 99),
        stage.row("recovery, the kernel tells of such a death, p50", stage.tellings, told, 50),
        stage.row("recovery, the kernel tells of such a death, p99", stage.tellings, told, 98),
        stage.row("recovery, survivor at the same ring, p50 of 100", stage.gaps, gap, 50),
        stage.row("recovery, survivor at the same ring, p99", stage.gaps, gap, 98),
        stage.row("recovery, survivor at the same ring, max", stage.gaps, gap, 99),
    };
}

}  // namespace cohort::bench
