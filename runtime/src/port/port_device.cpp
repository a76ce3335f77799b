#include "cohort/port/port_device.hpp"

#include "cohort/port/port_host.hpp"

#include <chrono>
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
    const auto now = steady_clock::now();
    const bool is_due = now >= next_count_;
    if (is_due)
        next_count_ = now + count_every;
    for (auto* each : all_) {
        each->look_at_signals();
        if (is_due)
            each->add_drops(deadline_in(patience));
    }
}

port_device::port_device(port_layout& port, port_host& host)
    : io{find_port_driver(port.driver.view()).open(port, host)}
    , host_{host}
    , self_{membership_of(&port)}
    , entry_{host.entry_of(port)}
    , generation_{entry_.word().generation}
    , of_process_{host.devices()}
{
    of_process_->add(*this);
}

port_device::~port_device()
{
    of_process_->remove(*this);
}

void port_device::look_at_signals() noexcept
{
    const std::unique_lock guard{mutex, std::try_to_lock};
    for (const auto& signal : signals)
        if (guard && signal)
            signal->look();
}

void port_device::add_drops(deadline until) noexcept
{
    const std::lock_guard guard{mutex};
    if (!io || self_.lane() == 0 || !is_there())
        return;  // what the device tells could not be added, and it may tell it once only
    if (io->look_at_drops())
        static_cast<void>(host_.segments().hold_still(self_.who(), until, [&] {
            if (is_there())
                io->count_drops();
        }));
}

}  // namespace cohort
