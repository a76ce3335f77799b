#pragma once
// A helper program between two breakpoints, executed instruction by instruction.

#include "cohort/base/clock.hpp"
#include "support/child_process.hpp"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <sched.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

namespace cohort::test {

inline constexpr auto stepping_patience = std::chrono::seconds{30};

/// Keeps this thread, and the processes it starts meanwhile, on the first processor it may use.
class one_processor {
public:
    one_processor()
    {
        ::sched_getaffinity(0, sizeof before_, &before_);
        cpu_set_t first{};
        for (int cpu = 0; CPU_COUNT(&first) == 0; ++cpu)
            if (CPU_ISSET(cpu, &before_))
                CPU_SET(cpu, &first);
        ::sched_setaffinity(0, sizeof first, &first);
    }
    ~one_processor() { ::sched_setaffinity(0, sizeof before_, &before_); }
    one_processor(const one_processor&) = delete;
    one_processor& operator=(const one_processor&) = delete;

private:
    cpu_set_t before_{};
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
        REQUIRE(wait_for_stop());
    }

    /// Executes up to `count` instructions; fewer when the second breakpoint comes first.
    std::uint64_t step(std::uint64_t count)
    {
        for (std::uint64_t done = 0; done != count; ++done) {
            if (::ptrace(PTRACE_SINGLESTEP, child_.pid(), nullptr, nullptr) != 0 ||
                !wait_for_stop())
                throw std::runtime_error{"the victim cannot be stepped"};
            siginfo_t why{};
            ::ptrace(PTRACE_GETSIGINFO, child_.pid(), nullptr, &why);
            if (why.si_code == SI_KERNEL)  // the breakpoint, not the step
                return done;
        }
        return count;
    }

    void kill()
    {
        child_.kill();
        static_cast<void>(child_.wait(stepping_patience));
    }

private:
    bool wait_for_stop()
    {
        int status = 0;
        return ::waitpid(child_.pid(), &status, __WALL) == child_.pid() && WIFSTOPPED(status) &&
               WSTOPSIG(status) == SIGTRAP;
    }

    child_process child_;
};

}  // namespace cohort::test
