#include "cohort/ring/ring_event.hpp"

#include "cohort/base/error.hpp"

#include <cerrno>
#include <csignal>
#include <system_error>

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

}  // namespace

ring_event::ring_event(ring_layout& ring, ring_waiter::what wanted, std::uint32_t need,
                       member_ref peer)
    : waiter_{ring, wanted, peer}
    , need_{need}
    , event_{make_eventfd()}
{
    // Signals are for the threads of the program.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        thread_ = std::thread{[this] { watch(); }};
    } catch (const std::system_error& failure) {
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        throw error{errc::system, fmt::format("cannot start a thread to wait at a ring: {}; raise "
                                              "the limit of processes (ulimit -u)",
                                              failure.what())};
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ring_event::~ring_event()
{
    stop_.store(true, std::memory_order_release);
    acknowledged_.store(1, std::memory_order_release);
    acknowledged_.notify_one();
    waiter_.interrupt();
    thread_.join();
}

void ring_event::acknowledge() noexcept
{
    std::uint64_t count = 0;
    static_cast<void>(::read(event_.get(), &count, sizeof count));
    acknowledged_.store(1, std::memory_order_release);
    acknowledged_.notify_one();
}

void ring_event::signal() noexcept
{
    acknowledged_.store(0, std::memory_order_release);
    const std::uint64_t one = 1;
    static_cast<void>(::write(event_.get(), &one, sizeof one));
}

void ring_event::watch() noexcept
{
    while (!stop_.load(std::memory_order_acquire)) {
        const auto end = waiter_.wait(need_, deadline_in(1h), stop_);
        if (end == wait_end::timed_out)
            continue;
        if (end != wait_end::moved)
            peer_gone_.store(true, std::memory_order_release);
        signal();
        if (end != wait_end::moved)
            return;
        acknowledged_.wait(0, std::memory_order_acquire);
    }
}

}  // namespace cohort
