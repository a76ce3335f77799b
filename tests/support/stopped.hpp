#pragma once

// Whether a process has come to its stop. SIGSTOP takes effect some time after kill has returned,
// thread by thread: until then a dispatcher may still answer while the main thread is stopped.

#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/thread_state.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

#include <sys/types.h>

namespace cohort::test {

/// Every thread of it is stopped, be it by a tracer. False of a process that is dead.
[[nodiscard]] inline bool is_stopped(pid_t pid)
{
    std::error_code no_process;
    const std::filesystem::directory_iterator threads{"/proc/" + std::to_string(pid) + "/task",
                                                      no_process};
    return threads != end(threads) &&
           std::all_of(begin(threads), end(threads), [](const auto& thread) {
               const auto state = thread_state(thread).value_or('T');  // ended since it was listed
               return state == 'T' || state == 't';
           });
}

/// For one that stops itself, as at a fault point. Throws, and so fails the test, when it does not.
inline void await_stop(const child_process& process)
{
    if (!eventually([&] { return is_stopped(process.pid()); }))
        throw std::runtime_error{"process " + std::to_string(process.pid()) + " does not stop"};
}

/// SIGSTOP, and every thread of it has got it. SIGCONT needs no such wait: the kernel wakes all
/// threads before kill returns.
inline void stop(child_process& process)
{
    process.kill(SIGSTOP);
    await_stop(process);
}

}  // namespace cohort::test
