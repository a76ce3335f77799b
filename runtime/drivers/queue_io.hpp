#pragma once
// A port whose queues work each by itself: what the drivers of kernel interfaces are made of.

#include "cohort/port/port_driver.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

namespace cohort::detail {

/// `Rx` and `Tx` have `open` and `burst`; whoever derives from this makes one for each queue.
template <typename Rx, typename Tx>
class queue_io : public port_io {
public:
    bool open_rx(std::uint16_t queue, mempool_layout* pool) noexcept final
    {
        return rx_[queue].open(pool);
    }
    bool open_tx(std::uint16_t queue) noexcept final { return tx_[queue].open(); }
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
