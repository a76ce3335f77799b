#pragma once
// A thread that ends as if killed: no destructor runs, no lane is left. The kernel then reports the
// death of its lane while the process lives on.

#include <atomic>
#include <functional>
#include <thread>

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace cohort::test {

/// Runs `work` in a thread that then ends by the bare system call, and waits for its death.
inline void run_and_lose(const std::function<void()>& work)
{
    struct job {
        const std::function<void()>& work;
        std::atomic<int> tid{0};
        std::atomic<bool> done{false};
    } shared{work};
    pthread_t thread{};
    pthread_create(
        &thread, nullptr,
        [](void* argument) -> void* {
            auto& mine = *static_cast<job*>(argument);
            mine.tid = ::gettid();
#ifdef __SANITIZE_ADDRESS__
            __lsan_disable();  // what a lost thread leaves is the point
#endif
            mine.work();
            mine.done = true;        // what the work did is seen by the caller
            ::syscall(SYS_exit, 0);  // past glibc: no thread-local destructor
            return nullptr;
        },
        &shared);
    pthread_detach(thread);
    // Not pthread_join: the thread sanitizer would wait for an end that it never sees.
    while (!shared.done || ::syscall(SYS_tgkill, ::getpid(), shared.tid.load(), 0) == 0)
        std::this_thread::yield();
}

}  // namespace cohort::test
