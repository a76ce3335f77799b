#include "ring_watch.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <fmt/format.h>

#include <sys/eventfd.h>
#include <unistd.h>

namespace cohort::detail {
namespace {

constexpr auto longest_sleep = 100ms;  // as a slice of the bell

int make_eventfd()
{
    const int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made < 0)
        throw error{errc::system,
                    fmt::format("cannot make an eventfd to wait at a ring port: {}; raise the "
                                "limit of open files (ulimit -n)",
                                describe_errno(errno))};
    return made;
}

}  // namespace

ring_source::ring_source(const port_queue_layout& queue, memory_layout& memory) noexcept
{
    const auto word = [&](std::size_t i) {
        return queue.aux[i].load(std::memory_order_relaxed);  // fixed at creation
    };
    zone_ = &memory.zones[word(ring_word::entry)];
    generation_ = word(ring_word::generation);
}

bool ring_source::is_there() const noexcept
{
    return zone_->is_live() && zone_->kind == zone_kind::ring &&
           zone_->word().generation == generation_;
}

void ring_source::sleep(deadline until) const noexcept
{
    auto& ring = layout();
    const auto armed = ring.producer.bell.arm();
    if (ring.count() == 0)
        ring.producer.bell.sleep(armed, until);
}

ring_watch::ring_watch(const ring_source& ring) : ring_{ring}, event_{make_eventfd()}
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
        throw error{errc::system, fmt::format("cannot start a thread to wait at a ring port: {}; "
                                              "raise the limit of processes (ulimit -u)",
                                              failure.what())};
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ring_watch::~ring_watch()
{
    stop_.store(true, std::memory_order_release);
    looks_.store(1, std::memory_order_release);
    looks_.notify_one();
    thread_.join();
}

void ring_watch::acknowledge() noexcept
{
    std::uint64_t count = 0;
    static_cast<void>(::read(event_.get(), &count, sizeof count));
    looks_.store(1, std::memory_order_release);
    looks_.notify_one();
}

void ring_watch::watch() noexcept
{
    for (;;) {
        looks_.wait(0, std::memory_order_acquire);
        if (stop_.load(std::memory_order_acquire))
            return;
        if (!ring_.is_there()) {
            std::this_thread::sleep_for(longest_sleep);
        } else if (ring_.layout().count() == 0) {
            ring_.sleep(deadline_in(longest_sleep));
        } else {
            looks_.store(0, std::memory_order_release);
            const std::uint64_t one = 1;
            static_cast<void>(::write(event_.get(), &one, sizeof one));
        }
    }
}

}  // namespace cohort::detail
