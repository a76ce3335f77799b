#include "cohort/ring/event_thread.hpp"

#include "cohort/base/error.hpp"

#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <sys/eventfd.h>
#include <unistd.h>

namespace cohort {
namespace {

int make_eventfd()
{
    const int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made < 0)
        throw error{errc::system,
                    fmt::format("cannot make an eventfd: {}; raise the limit of open files "
                                "(ulimit -n)",
                                describe_errno(errno))};
    return made;
}

/// Signals are for the threads of the program.
class without_signals {
public:
    without_signals() noexcept
    {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~without_signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    without_signals(const without_signals&) = delete;
    without_signals& operator=(const without_signals&) = delete;

private:
    sigset_t before_;
};

}  // namespace

event_thread::event_thread(look what, begin when)
    : event_{make_eventfd()}
    , looks_{when == begin::at_once ? 1u : 0u}
{
    const without_signals blocked;
    try {
        thread_ = std::thread{[this, what = std::move(what)] { run(what); }};
    } catch (const std::system_error& failure) {
        throw error{errc::system, fmt::format("cannot start a thread to wait at a ring: {}; raise "
                                              "the limit of processes (ulimit -u)",
                                              failure.what())};
    }
}

void event_thread::acknowledge() noexcept
{
    std::uint64_t count = 0;
    static_cast<void>(::read(event_.get(), &count, sizeof count));
    wake();
}

void event_thread::wake() noexcept
{
    looks_.store(1, std::memory_order_release);
    looks_.notify_one();
}

void event_thread::run(const look& what) noexcept
{
    for (auto seen = found::nothing; seen != found::last;) {
        // Before the sleep, too: the 1 of `stop` may have been overwritten below.
        if (stop_.load(std::memory_order_acquire))
            return;
        looks_.wait(0, std::memory_order_acquire);
        if (stop_.load(std::memory_order_acquire))
            return;
        seen = what(stop_);
        if (seen == found::nothing)
            continue;
        looks_.exchange(0, std::memory_order_acq_rel);  // whoever wrote the 1 is seen
        const std::uint64_t one = 1;
        static_cast<void>(::write(event_.get(), &one, sizeof one));
    }
}

}  // namespace cohort
