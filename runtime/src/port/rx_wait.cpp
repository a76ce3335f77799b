// Sleeping at an rx queue.

#include "cohort/port/rx_wait.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/port/port.hpp"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr auto slice = 100ms;        // whoever stops or destroys the port waits a second
constexpr auto slice_beside = 10ms;  // while the queue is not to be had

}  // namespace

rx_wake port::rx_wait(std::uint16_t queue, deadline until) noexcept
{
    if (queue >= rx_queues_)
        return rx_wake::gone;
    for (;;) {
        const bool ours = hold_rx(queue);
        if (!ours && !is_there())
            return rx_wake::gone;
        const auto outlook = ours ? io_->arm_rx(queue) : rx_outlook::silent;
        if (outlook == rx_outlook::ready)
            return rx_wake::ready;
        const auto now = steady_clock::now();
        if (now >= until)
            return rx_wake::nothing;
        if (outlook == rx_outlook::waiting)
            io_->sleep_rx(queue, std::min(until, now + slice));
        else
            std::this_thread::sleep_until(std::min(until, now + (ours ? slice : slice_beside)));
    }
}

int port::rx_fd(std::uint16_t queue)
{
    const std::lock_guard guard{device_->mutex};
    if (queue < rx_queues_ && device_->signals[queue])
        return device_->signals[queue]->fd();
    const bool there = device_->io && is_there();
    if (queue >= rx_queues_ || !there)
        throw error{errc::invalid_argument,
                    fmt::format("there is no rx queue {} to wait at: the port {}", queue,
                                there ? fmt::format("has {}", rx_queues_)
                                      : std::string{"has been destroyed"})};
    static_cast<void>(device_->io->rx_descriptor(queue));  // what cannot be had throws here
    device_->signals[queue] = std::make_unique<rx_signal>(*layout_, queue, *entry_, generation_);
    return device_->signals[queue]->fd();
}

rx_wake port::rx_arm(std::uint16_t queue) noexcept
{
    if (queue >= rx_queues_)
        return rx_wake::gone;
    auto* signal = [&] {
        const std::lock_guard guard{device_->mutex};
        return device_->signals[queue].get();
    }();
    if (signal)
        signal->clear();
    if (signal && is_there()) {
        // Before the queue is asked for: what changes in between is noticed.
        const auto owner = layout_->rx[queue].owner.word();
        signal->note(layout_->phase.load(std::memory_order_relaxed), owner);  // compared only
    }
    auto woken = rx_wake::nothing;
    if (hold_rx(queue)) {
        const auto outlook = io_->arm_rx(queue);
        bool told = outlook != rx_outlook::ready;
        if (signal) {
            signal->note(rx_[queue].phase, rx_[queue].owner);
            told = told && signal->listen_to(
                               outlook == rx_outlook::waiting ? io_->rx_descriptor(queue) : -1);
        }
        woken = told ? rx_wake::nothing : rx_wake::ready;
    } else {
        const std::lock_guard guard{device_->mutex};  // not its owner: others may close the device
        if (signal)
            static_cast<void>(signal->listen_to(-1));  // what waits there is not for this lane
        if (!is_there())
            woken = rx_wake::gone;
    }
    if (signal && woken != rx_wake::nothing)
        signal->raise();
    return woken;
}

}  // namespace cohort
