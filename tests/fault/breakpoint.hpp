#pragma once
// What a program has that is executed instruction by instruction (stepped_process.hpp).

#include <atomic>
#include <csignal>
#include <ctime>

#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

namespace cohort::test {

/// Where stepping begins and ends.
[[gnu::always_inline]] inline void breakpoint()
{
    asm volatile("int3" ::: "memory");
}

/// The tester puts breakpoints into the code for a moment, meant for the stepped thread (the first
/// one). Another thread that comes there tries again until it is gone. If that takes too long the
/// stepped one may wait for this thread: it is stopped elsewhere, which the tester sees.
inline void let_others_wait_at_breakpoints()
{
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
        static std::atomic<int> tries{0};
        auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
        --registers[REG_RIP];  // the breakpoint is one byte long
        constexpr timespec pause{0, 1'000'000};
        ::nanosleep(&pause, nullptr);
        if (++tries % 1000 == 0)
            ::syscall(SYS_tgkill, ::getpid(), ::getpid(), SIGSTOP);
    };
    ::sigaction(SIGTRAP, &action, nullptr);
}

}  // namespace cohort::test
