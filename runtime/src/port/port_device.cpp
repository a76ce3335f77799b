#include "cohort/port/port_device.hpp"

#include "cohort/port/port_host.hpp"

#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace cohort {

void port_devices::add(port_device& one)
{
    const std::lock_guard guard{mutex_};
    all_.push_back(&one);
}

void port_devices::remove(const port_device& one) noexcept
{
    const std::lock_guard guard{mutex_};
    std::erase(all_, &one);
}

void port_devices::look() noexcept
{
    constexpr std::chrono::milliseconds patience{10};  // the dispatcher has other things to do
    const std::lock_guard guard{mutex_};
    for (auto* each : all_)
        each->look_at_signals();
    const auto now = steady_clock::now();
    if (now < next_count_)
        return;
    next_count_ = now + count_every;
    for (auto* each : all_)
        each->add_drops(now + patience);  // of all together
}

/// The port may go while its device is opened: what counts is which one it was before.
port_device::port_device(port_layout& port, port_host& host)
    : host_{host}
    , self_{membership_of(&port)}
    , entry_{host.entry_of(port)}
    , generation_{entry_.word().generation}
    , of_process_{host.devices()}
{
    io = find_port_driver(port.driver.view()).open(port, host);
    of_process_->add(*this);
}

port_device::~port_device()
{
    of_process_->remove(*this);
}

void port_device::look_at_signals() noexcept
{
    const std::unique_lock guard{mutex, std::try_to_lock};
    if (!guard)
        return;
    for (const auto& signal : signals)
        if (signal)
            signal->look();
}

void port_device::add_drops(deadline until) noexcept
{
    // No timed mutex: the thread sanitizer of g++ 12 does not know it.
    std::unique_lock guard{mutex, std::try_to_lock};
    for (; !guard && steady_clock::now() < until; static_cast<void>(guard.try_lock()))
        std::this_thread::sleep_for(1ms);
    if (!guard || !io || self_.lane() == 0 || !is_there())
        return;  // what the device tells could not be added, and it may tell it once only
    if (io->look_at_drops())
        static_cast<void>(host_.segments().hold_still(self_.who(), until, [&] {
            if (is_there())
                io->count_drops();
        }));
}

}  // namespace cohort
