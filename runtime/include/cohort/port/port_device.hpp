#pragma once
/// One handle's hold on the device of its port, and what the dispatcher of the process looks after
/// there: nobody else tells a sleeper that a port stops or that a queue changes hands, and what a
/// device has dropped by its own count is not in the region until somebody fetches it.
///
/// *Thread safety*: owners of queues use `io` as it is, for the port does not go before they have
/// let go; everybody else under the mutex. The rest by any thread.
/// *When a process dies here*: nothing is shared; what was fetched and not added yet is lost.

#include "cohort/base/clock.hpp"
#include "cohort/member/membership.hpp"
#include "cohort/port/port_driver.hpp"
#include "cohort/port/rx_signal.hpp"

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

namespace cohort {

class port_device;
class port_host;

/// Those of a process, at which its dispatcher looks now and then.
class port_devices {
public:
    static constexpr std::chrono::seconds count_every{1};

    void add(port_device& one);
    void remove(const port_device& one) noexcept;
    /// At all signals, and each `count_every` at what the devices have dropped; waits for locks for
    /// 10 ms at most.
    void look() noexcept;

private:
    std::mutex mutex_;  // guards the rest
    std::vector<port_device*> all_;
    steady_clock::time_point next_count_{};
};

class port_device {
public:
    /// Opens the device. Throws what the driver throws.
    port_device(port_layout& port, port_host& host);
    ~port_device();
    port_device(const port_device&) = delete;
    port_device& operator=(const port_device&) = delete;

    /// Raises the signals of queues that have changed since they were noted. Returns at once when
    /// somebody has the mutex: the next look finds the same.
    void look_at_signals() noexcept;
    /// Adds what the device has dropped since to the counters of the port, unless the thread has no
    /// lane, or the mutex or the memory lock is not to be had in time: then a later call adds it.
    void add_drops(deadline until) noexcept;

    std::mutex mutex;
    std::unique_ptr<port_io> io;  ///< nullptr once the port has gone
    std::array<std::unique_ptr<rx_signal>, max_port_queues> signals;  ///< where asked for

private:
    [[nodiscard]] bool is_there() const noexcept { return entry_.is_there(generation_); }

    port_host& host_;
    membership& self_;
    const memzone_layout& entry_;  // stays when the port goes
    std::uint32_t generation_;     // of the entry
    std::shared_ptr<port_devices> of_process_;
};

}  // namespace cohort
