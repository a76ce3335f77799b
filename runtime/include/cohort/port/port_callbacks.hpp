#pragma once
/// Functions of a process between a port and those who burst on it, as rte_eth_add_rx_callback and
/// rte_eth_add_tx_callback. They belong to a handle: other handles, and other members, have none of
/// them.
///
/// *Thread safety*: added and removed while no thread is in a burst through that handle, so not by
/// a callback either. They are called by whoever bursts on their queue. *When a process dies here*:
/// its functions are gone; the packets are in its custody, as behind any burst. A successor works
/// without them, or with its own.

#include "cohort/packet/mbuf.hpp"
#include "cohort/port/port_layout.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace cohort {

/// Gets what a burst has received and returns how many of them the caller of the burst is to have,
/// which it moves to the front. What it leaves out it frees, or keeps. Throws nothing.
using rx_callback = std::function<std::size_t(std::span<mbuf*>)>;
/// Gets what is about to be sent, and may write to it. What the port does not accept then comes by
/// again with the next try. Throws nothing.
using tx_callback = std::function<void(std::span<mbuf* const>)>;

using callback_id = std::uint64_t;

class port_callbacks {
public:
    /// They are called in the order in which they were added.
    callback_id add(std::uint16_t queue, rx_callback function);
    callback_id add(std::uint16_t queue, tx_callback function);
    /// False when there is none of that number.
    bool remove(callback_id which);
    [[nodiscard]] bool empty() const noexcept;

    [[nodiscard]] std::size_t received(std::uint16_t queue, std::span<mbuf*> packets) noexcept;
    void sending(std::uint16_t queue, std::span<mbuf* const> packets) noexcept;

private:
    template <typename Function>
    struct numbered {
        callback_id id;
        Function call;
    };

    std::array<std::vector<numbered<rx_callback>>, max_port_queues> rx_;
    std::array<std::vector<numbered<tx_callback>>, max_port_queues> tx_;
    callback_id next_ = 1;
};

}  // namespace cohort
