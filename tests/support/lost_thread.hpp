#pragma once
// A thread that ends as if killed: no destructor runs, no lane is left. The kernel then reports the
// death of its lane while the process lives on.

#include <atomic>
#include <functional>

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

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
            mine.work();
            mine.done = true;
            ::syscall(SYS_exit, 0);  // past glibc: no thread-local destructor
            return nullptr;
        },
        &shared);
    pthread_join(thread, nullptr);  // the kernel clears the thread's word, after the robust list
}

}  // namespace cohort::test
