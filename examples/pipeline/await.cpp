#include "cohort/base/cache_line.hpp"
#include "cohort/base/error.hpp"
#include "cohort/base/file_descriptor.hpp"
#include "region_view.hpp"
#include "stages.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <sys/syscall.h>
#include <unistd.h>

namespace pipeline {
namespace {

using namespace std::chrono_literals;

/// Another process, named so that no signal can ever reach a different one of the same number.
class victim {
public:
    victim(const cohort::member_layout& member, std::string_view name)
        : pid_{member.pid}
        , process_{static_cast<int>(::syscall(SYS_pidfd_open, member.pid, 0))}
    {
        const bool same = process_ && member.pid_namespace == cohort::own_pid_namespace() &&
                          member.start_time == cohort::process_start_time(pid_);
        if (!same)
            throw cohort::error{cohort::errc::invalid_argument,
                                fmt::format("process {} is not the member \"{}\"; start all parts "
                                            "in one PID namespace",
                                            pid_, name)};
    }

    /// False when the process has ended.
    bool signal(int number) const
    {
        if (::syscall(SYS_pidfd_send_signal, process_.get(), number, nullptr, 0) == 0)
            return true;
        if (errno != ESRCH)
            cohort::throw_errno(errno, fmt::format("cannot send signal {} to {}", number, pid_));
        return false;
    }

    /// Stops it and returns once the kernel says that it has stopped. False when it has ended, and
    /// after the deadline.
    [[nodiscard]] bool stop(cohort::deadline until) const
    {
        for (bool there = signal(SIGSTOP); there; std::this_thread::sleep_for(100us)) {
            const auto now = state();
            if (now == 'T')
                return true;
            there = !has_ended(now) && cohort::steady_clock::now() < until;
        }
        return false;
    }

    [[nodiscard]] bool ended() const { return has_ended(state()); }

    [[nodiscard]] int pid() const noexcept { return pid_; }

private:
    static bool has_ended(char state) noexcept
    {
        return state == '?' || state == 'Z' || state == 'X';
    }

    /// The letter after the name in /proc/PID/stat. The name may hold anything but ends with ')'.
    [[nodiscard]] char state() const
    {
        std::string line;
        std::getline(std::ifstream{fmt::format("/proc/{}/stat", pid_)}, line);
        const auto name_end = line.rfind(')');
        return name_end + 2 < line.size() ? line[name_end + 2] : '?';
    }

    int pid_;
    cohort::file_descriptor process_;
};

std::uint64_t sum_of(const std::vector<const std::atomic<std::uint64_t>*>& words) noexcept
{
    std::uint64_t sum = 0;
    for (const auto* word : words)
        sum += word->load(std::memory_order_relaxed);  // only whether it changes counts
    return sum;
}

/// Lets a stopped process that holds nothing go on, until it has just taken packets.
void let_it_take_packets(const region_view& view, cohort::member_ref member, const victim& process)
{
    constexpr auto a_moment = 2ms;  // for packets to come, and for a busy machine to run it
    std::this_thread::sleep_for(a_moment);
    const auto inputs = view.inputs_of(member);
    const auto before = sum_of(inputs);
    process.signal(SIGCONT);
    const auto until = cohort::deadline_in(10 * a_moment);
    while (sum_of(inputs) == before && cohort::steady_clock::now() < until)
        cohort::cpu_relax();
}

/// Stops the process wherever it is and looks, for a running one changes what it holds meanwhile.
/// Tries again until it holds packets; then it is left stopped.
std::uint32_t stop_holding(const region_view& view, cohort::member_ref member,
                           const victim& process, cohort::deadline until)
{
    while (!view.done() && process.stop(until)) {
        if (const auto held = view.held_by(member); held != 0)
            return held;
        let_it_take_packets(view, member, process);
    }
    process.signal(SIGCONT);
    return 0;
}

std::uint32_t watch_holding(const region_view& view, cohort::member_ref member,
                            cohort::deadline until)
{
    while (!view.done() && cohort::steady_clock::now() < until) {
        if (const auto held = view.held_by(member); held != 0)
            return held;
        std::this_thread::sleep_for(200us);
    }
    return 0;
}

cohort::member_ref wait_for_traffic(const region_view& view, const await_options& options,
                                    cohort::deadline until)
{
    const auto wanted = view.packets_expected() * options.after_percent / 100;
    for (;;) {
        const auto member = view.find_member(options.victim);
        if (member && view.packets_out() >= wanted)
            return *member;
        if (view.done() || cohort::steady_clock::now() >= until)
            throw cohort::error{cohort::errc::timed_out,
                                fmt::format("{} of {} packets are written and \"{}\" is {}",
                                            view.packets_out(), wanted, options.victim,
                                            member ? "there" : "not a member")};
        std::this_thread::sleep_for(1ms);
    }
}

}  // namespace

int await_holding(const await_options& options)
{
    const auto until = cohort::deadline_in(options.timeout);
    const auto observer = cohort::secondary::observe(options.domain, options.timeout);
    const region_view view{observer.region()};
    fmt::print("watching {}\n", options.victim);
    std::fflush(stdout);  // who starts the traffic waits for that line
    const auto member = wait_for_traffic(view, options, until);
    const victim process{view.region().members.members[member.id], options.victim};

    const auto held = options.kill ? stop_holding(view, member, process, until)
                                   : watch_holding(view, member, until);
    const auto written = view.packets_out();
    if (held == 0 || (options.kill && !process.signal(SIGKILL)))
        throw cohort::error{
            cohort::errc::timed_out,
            fmt::format("\"{}\" was not seen holding packets before the {}", options.victim,
                        view.done() || process.ended() ? "run ended; raise --loops" : "deadline")};
    fmt::print("{} {} (pid {}) while it held {} packets; {} were written by then\n",
               options.kill ? "killed" : "saw", options.victim, process.pid(), held, written);
    return 0;
}

}  // namespace pipeline
