#pragma once
// A helper program between two breakpoints, executed instruction by instruction.
//
// To be stopped after instruction k of thousands, it need not be stepped k times: it runs at full
// speed to a place near k of a route recorded before, where the processor's debug register stops it
// (that of one thread, so the others of the process pass), and is stepped from there.

#include "cohort/base/clock.hpp"
#include "fault/route.hpp"
#include "support/child_process.hpp"
#include "support/one_processor.hpp"

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

/// Whether a process stops where a debug register of the processor says. Not in every virtual
/// machine; without them all instructions up to the one in question are stepped.
[[nodiscard]] inline bool has_debug_registers()
{
    static const bool has = [] {
        static const auto landing = +[] { __asm__ volatile(""); };
        const pid_t child = ::fork();
        if (child == 0) {
            ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
            ::raise(SIGSTOP);
            landing();
            ::_exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        ::ptrace(PTRACE_POKEUSER, child, offsetof(user, u_debugreg[0]), landing);
        ::ptrace(PTRACE_POKEUSER, child, offsetof(user, u_debugreg[7]), 1);
        ::ptrace(PTRACE_CONT, child, nullptr, nullptr);
        ::waitpid(child, &status, 0);
        const bool stopped = WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
        if (!WIFEXITED(status)) {
            ::kill(child, SIGKILL);
            ::waitpid(child, &status, 0);
        }
        return stopped;
    }();
    return has;
}

/// A stepper, stopped at its first breakpoint.
class stepped_process {
public:
    stepped_process(const std::string& program, const std::vector<std::string>& arguments)
        : child_{child_process::spawn(program, arguments)}
    {
        child_.await("ready", stepping_patience);
        REQUIRE(::ptrace(PTRACE_SEIZE, child_.pid(), nullptr, PTRACE_O_EXITKILL) == 0);
        child_.tell("go");
        REQUIRE(wait_for_stop());
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
        child_.kill();
        static_cast<void>(child_.wait(stepping_patience));
    }

private:
    enum class stop { step, waypoint, breakpoint };

    stop resume(__ptrace_request how)
    {
        if (::ptrace(how, child_.pid(), nullptr, nullptr) != 0 || !wait_for_stop())
            throw std::runtime_error{"the victim cannot be stepped"};
        siginfo_t why{};
        ::ptrace(PTRACE_GETSIGINFO, child_.pid(), nullptr, &why);
        switch (why.si_code) {
        case SI_KERNEL: done_ = true; return stop::breakpoint;
        case TRAP_HWBKPT: return stop::waypoint;
        default: return stop::step;
        }
    }

    /// False when the call has come to its end elsewhere, or the machine has no debug registers.
    bool run_to(const waypoint& there)
    {
        if (there.steps == 0)
            return true;
        if (!set_register(offsetof(user, u_debugreg[0]), there.place) ||
            !set_register(offsetof(user, u_debugreg[7]), 1))  // executing what register 0 names
            return false;
        for (auto left = there.visits; left != 0; --left)
            if (resume(PTRACE_CONT) != stop::waypoint)
                return false;
        return set_register(offsetof(user, u_debugreg[7]), 0);
    }

    bool set_register(std::size_t which, std::uintptr_t value)
    {
        return ::ptrace(PTRACE_POKEUSER, child_.pid(), which, value) == 0;
    }

    bool wait_for_stop()
    {
        int status = 0;
        return ::waitpid(child_.pid(), &status, __WALL) == child_.pid() && WIFSTOPPED(status) &&
               WSTOPSIG(status) == SIGTRAP;
    }

    child_process child_;
    bool done_ = false;
};

}  // namespace cohort::test
