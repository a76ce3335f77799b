#pragma once
// A helper program between two breakpoints, executed instruction by instruction.
//
// To be stopped after instruction k of thousands, it need not be stepped k times: it runs at full
// speed to a place near k of a route recorded before, where a breakpoint is put into its code for
// that long (not a debug register: in some virtual machines they stop nobody), and is stepped from
// there.

#include "cohort/base/clock.hpp"
#include "fault/route.hpp"
#include "support/child_process.hpp"
#include "support/one_processor.hpp"

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

namespace cohort::test {

inline constexpr auto stepping_patience = std::chrono::seconds{30};

/// Processes that this thread starts meanwhile have their code at the same addresses each time, so
/// that a route recorded in one is one for the next. Where that is not allowed, routes lead nowhere
/// and everything is stepped.
class fixed_addresses {
public:
    fixed_addresses() noexcept : before_{::personality(0xffff'ffff)}
    {
        ::personality(static_cast<unsigned long>(before_) | ADDR_NO_RANDOMIZE);
    }
    ~fixed_addresses() { ::personality(static_cast<unsigned long>(before_)); }
    fixed_addresses(const fixed_addresses&) = delete;
    fixed_addresses& operator=(const fixed_addresses&) = delete;

private:
    int before_;
};

/// A stepper, stopped at its first breakpoint.
class stepped_process {
public:
    stepped_process(const std::string& program, const std::vector<std::string>& arguments)
        : child_{child_process::spawn(program, arguments)}
    {
        child_.await("ready", stepping_patience);
        REQUIRE(::ptrace(PTRACE_SEIZE, child_.pid(), nullptr, PTRACE_O_EXITKILL) == 0);
        child_.tell("go");
        REQUIRE(wait_for_stop() == SIGTRAP);
    }

    /// Executes up to `count` instructions; fewer when the second breakpoint comes first.
    std::uint64_t step(std::uint64_t count)
    {
        for (std::uint64_t done = 0; done != count; ++done)
            if (resume(PTRACE_SINGLESTEP) == stop::breakpoint)
                return done;
        return count;
    }

    /// The same, and says which way it went.
    route record(std::uint64_t count)
    {
        route passed;
        passed.add(position());
        for (std::uint64_t done = 0; done != count; ++done) {
            if (resume(PTRACE_SINGLESTEP) == stop::breakpoint)
                break;
            passed.add(position());
        }
        return passed;
    }

    /// The same as `step`, for a call that has gone nowhere yet, by way of `known`. Another number
    /// than `count` when the call ends before, or when it takes another way than `known`.
    std::uint64_t step_by(const route& known, std::uint64_t count)
    {
        const auto near = known.waypoint_before(count);
        if (!run_to(near))
            return 0;
        return near.steps + step(count - near.steps);
    }

    /// The address of the next instruction.
    [[nodiscard]] std::uintptr_t position() const
    {
        return static_cast<std::uintptr_t>(
            ::ptrace(PTRACE_PEEKUSER, child_.pid(), offsetof(user, regs.rip), nullptr));
    }

    /// The call has been done to its end.
    [[nodiscard]] bool has_done() const noexcept { return done_; }

    void kill()
    {
        if (ended_)
            return;
        child_.kill();
        static_cast<void>(child_.wait(stepping_patience));
    }

private:
    enum class stop { step, waypoint, breakpoint };

    stop resume(__ptrace_request how)
    {
        if (!resumed(how))
            throw std::runtime_error{"the victim cannot be stepped"};
        return why_it_stopped();
    }

    bool resumed(__ptrace_request how)
    {
        int signal = 0;
        do {
            if (::ptrace(how, child_.pid(), nullptr, nullptr) != 0)
                return false;
            signal = wait_for_stop();
        } while (signal == SIGSTOP && how == PTRACE_SINGLESTEP);  // too late; see breakpoint.hpp
        return signal == SIGTRAP;
    }

    stop why_it_stopped()
    {
        siginfo_t why{};
        ::ptrace(PTRACE_GETSIGINFO, child_.pid(), nullptr, &why);
        if (why.si_code != SI_KERNEL)
            return stop::step;
        if (position() == waypoint_ + 1)
            return stop::waypoint;
        done_ = true;
        return stop::breakpoint;
    }

    /// False when the call has come to its end elsewhere, or no breakpoint can be put there.
    bool run_to(const waypoint& there)
    {
        if (there.steps == 0)
            return true;
        errno = 0;
        const auto code = ::ptrace(PTRACE_PEEKTEXT, child_.pid(), there.place, nullptr);
        if (errno != 0)
            return false;
        constexpr long lowest_byte = 0xff;
        constexpr long int3 = 0xcc;
        waypoint_ = there.place;
        for (auto left = there.visits; left != 0; --left) {
            if (left != there.visits)
                resume(PTRACE_SINGLESTEP);  // off the place
            if (!write(there.place, (code & ~lowest_byte) | int3) || !resumed(PTRACE_CONT) ||
                why_it_stopped() != stop::waypoint || !write(there.place, code))
                return false;
            ::ptrace(PTRACE_POKEUSER, child_.pid(), offsetof(user, regs.rip), there.place);
        }
        waypoint_ = 0;
        return true;
    }

    bool write(std::uintptr_t place, long code)
    {
        return ::ptrace(PTRACE_POKETEXT, child_.pid(), place, code) == 0;
    }

    /// By which signal it was; 0 when it has ended.
    int wait_for_stop()
    {
        int status = 0;
        if (::waitpid(child_.pid(), &status, __WALL) == child_.pid() && WIFSTOPPED(status))
            return WSTOPSIG(status);
        ended_ = true;
        return 0;
    }

    child_process child_;
    std::uintptr_t waypoint_ = 0;  ///< where a breakpoint stands in its code
    bool done_ = false;
    bool ended_ = false;  ///< by itself
};

}  // namespace cohort::test
