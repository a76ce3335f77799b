#pragma once
// A port whose queues work each by itself: what the drivers of kernel interfaces are made of.

#include "cohort/port/port_driver.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

#include <poll.h>
#include <sys/socket.h>

namespace cohort::detail {

/// Of a descriptor that is readable while frames wait. One that has an error only tells nothing.
[[nodiscard]] inline rx_outlook outlook_of(int descriptor) noexcept
{
    pollfd looked{.fd = descriptor, .events = POLLIN, .revents = 0};
    if (::poll(&looked, 1, 0) == 0)
        return rx_outlook::waiting;
    return (looked.revents & POLLIN) != 0 ? rx_outlook::ready : rx_outlook::silent;
}

/// The same of a packet socket: an interface that went down, or away, leaves an error, which would
/// be told for ever. It is taken off, into `reason`.
[[nodiscard]] inline rx_outlook outlook_of_socket(int socket, int& reason) noexcept
{
    reason = 0;
    if (const auto outlook = outlook_of(socket); outlook != rx_outlook::silent)
        return outlook;
    socklen_t length = sizeof reason;
    if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &reason, &length) != 0)
        reason = 0;
    return outlook_of(socket);
}

/// `Rx` and `Tx` have `open` and `burst`, `Rx` also `arm` and `descriptor`; whoever derives from
/// this makes one for each queue.
template <typename Rx, typename Tx>
class queue_io : public port_io {
public:
    bool open_rx(std::uint16_t queue, mempool_layout* pool) noexcept final
    {
        return rx_[queue].open(pool);
    }
    bool open_tx(std::uint16_t queue) noexcept final { return tx_[queue].open(); }
    [[nodiscard]] rx_outlook arm_rx(std::uint16_t queue) noexcept final { return rx_[queue].arm(); }
    [[nodiscard]] int rx_descriptor(std::uint16_t queue) final { return rx_[queue].descriptor(); }
    std::size_t rx_burst(std::uint16_t queue, std::span<mbuf*> packets) noexcept final
    {
        return rx_[queue].burst(packets);
    }
    std::size_t tx_burst(std::uint16_t queue, std::span<mbuf* const> packets) noexcept final
    {
        return tx_[queue].burst(packets);
    }

protected:
    std::deque<Rx> rx_;  // queues neither move nor copy
    std::deque<Tx> tx_;
};

}  // namespace cohort::detail
