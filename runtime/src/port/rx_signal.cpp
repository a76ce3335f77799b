#include "cohort/port/rx_signal.hpp"

#include "cohort/base/error.hpp"

#include <cerrno>

#include <fmt/format.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace cohort {
namespace {

file_descriptor checked(int made)
{
    if (made < 0)
        throw error{errc::system,
                    fmt::format("cannot make a descriptor to wait at an rx queue: {}; raise the "
                                "limit of open files (ulimit -n)",
                                describe_errno(errno))};
    return file_descriptor{made};
}

bool add(const file_descriptor& epoll, int fd) noexcept
{
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

rx_signal::rx_signal(const port_layout& port, std::uint16_t queue, const memzone_layout& entry,
                     std::uint32_t generation)
    : port_{port}
    , queue_{port.rx[queue]}
    , entry_{entry}
    , generation_{generation}
    , epoll_{checked(::epoll_create1(EPOLL_CLOEXEC))}
    , event_{checked(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK))}
{
    if (!add(epoll_, event_.get()))
        throw_errno(errno, "cannot wait for an eventfd");
}

bool rx_signal::listen_to(int device) noexcept
{
    if (device == device_)
        return true;
    if (device_ >= 0)
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, device_, nullptr);
    const bool done = device < 0 || add(epoll_, device);
    device_ = done ? device : -1;
    return done;
}

void rx_signal::raise() noexcept
{
    const std::uint64_t one = 1;
    static_cast<void>(::write(event_.get(), &one, sizeof one));
}

void rx_signal::clear() noexcept
{
    std::uint64_t count = 0;
    static_cast<void>(::read(event_.get(), &count, sizeof count));
}

void rx_signal::note(std::uint64_t phase, std::uint64_t owner) noexcept
{
    phase_.store(phase, std::memory_order_relaxed);  // see the header
    owner_.store(owner, std::memory_order_relaxed);
}

void rx_signal::look() noexcept
{
    if (!entry_.is_there(generation_) ||
        port_.phase.load(std::memory_order_relaxed) !=  // compared, orders nothing
            phase_.load(std::memory_order_relaxed) ||
        queue_.owner.word() != owner_.load(std::memory_order_relaxed))  // see the header
        raise();
}

}  // namespace cohort
