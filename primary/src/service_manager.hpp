#pragma once
// What cohortd says to the service manager that started it: the protocol of sd_notify(3), spoken
// without its library, for it is one datagram with lines NAME=VALUE to the socket $NOTIFY_SOCKET.

#include <chrono>
#include <string>
#include <string_view>

namespace cohort {

class service_manager {
public:
    /// Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID.
    service_manager();

    /// Does nothing without a manager; what it does not take is lost.
    void tell(std::string_view lines) const noexcept;

    /// How often the manager wants to hear WATCHDOG=1: half of what it allows, at least 1 ms; an
    /// hour when it does not watch this process.
    [[nodiscard]] std::chrono::microseconds watchdog_interval() const noexcept { return interval_; }

private:
    std::string socket_;
    std::chrono::microseconds interval_ = std::chrono::hours{1};
};

}  // namespace cohort
