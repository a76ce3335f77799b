#pragma once
// What a program has that is executed instruction by instruction (stepped_process.hpp).

#include <atomic>
#include <csignal>
#include <ctime>

#include <sys/syscall.h>
#include <ucontext.h>

namespace cohort::test {

/// Where stepping begins and ends.
[[gnu::always_inline]] inline void breakpoint()
{
    asm volatile("int3" ::: "memory");
}

/// Without the C library: a breakpoint may stand in its code, or in the loader's.
[[gnu::always_inline]] inline long raw_call(long number, long a = 0, long b = 0,
                                            long c = 0) noexcept
{
    long result = number;
    asm volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

/// The tester puts breakpoints into the code for a moment, meant for the stepped thread (the first
/// one). Another thread that comes there tries again until it is gone. If that takes seconds, the
/// stepped one may be waiting for this thread: it is stopped where it is, and the tester gives up.
inline void let_others_wait_at_breakpoints()
{
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
        static std::atomic<int> tries{0};
        --static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];  // it is one byte long
        constexpr timespec pause{0, 1'000'000};
        raw_call(SYS_nanosleep, reinterpret_cast<long>(&pause));
        if (++tries % 3000 != 0)
            return;
        const auto process = raw_call(SYS_getpid);
        raw_call(SYS_tgkill, process, process, SIGSTOP);
    };
    ::sigaction(SIGTRAP, &action, nullptr);
}

}  // namespace cohort::test
