#pragma once
/// Packets of one thread on their way to a tx queue, sent by full bursts.
///
/// Semantics of rte_eth_tx_buffer and rte_eth_tx_buffer_flush: what the driver does not accept at a
/// flush goes to a callback, which by default counts and frees it. Unlike there, the rest goes out
/// when the buffer ends.
///
/// *Thread safety*: a buffer belongs to one thread.
/// *When a process dies here*: what waits is in its custody, and goes where its pool's policy says.

#include "cohort/port/port.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace cohort {

/// What becomes of packets that a driver did not accept: by default they are dropped.
struct drop_unsent {
    std::uint64_t dropped = 0;

    void operator()(std::span<mbuf* const> unsent) noexcept
    {
        dropped += unsent.size();
        free_bulk(unsent);
    }
};

/// `Unsent` is called with the packets that a flush has left over, which are its own then.
template <std::invocable<std::span<mbuf* const>> Unsent = drop_unsent>
class tx_buffer {
public:
    static constexpr std::size_t capacity = max_port_burst;

    /// A burst is `size` packets, 1 to `capacity`; other numbers become the nearest of these. `to`
    /// must outlive the buffer.
    tx_buffer(port& to, std::uint16_t queue, std::size_t size = 32, Unsent unsent = {})
        : to_{&to}
        , queue_{queue}
        , size_{std::clamp(size, std::size_t{1}, capacity)}
        , unsent_{std::move(unsent)}
    {
    }
    ~tx_buffer() { flush(); }
    tx_buffer(const tx_buffer&) = delete;
    tx_buffer& operator=(const tx_buffer&) = delete;

    /// Takes the packet over. Returns how many went out with it: 0 while the burst is not full.
    std::size_t send(mbuf* packet) noexcept
    {
        packets_[waiting_++] = packet;
        return waiting_ == size_ ? flush() : 0;
    }
    /// Sends what waits; returns how many of it the driver accepted.
    std::size_t flush() noexcept
    {
        const auto count = std::exchange(waiting_, 0);
        if (count == 0)
            return 0;
        const auto all = std::span<mbuf* const>{packets_}.first(count);
        const auto accepted = to_->tx_burst(queue_, all);
        if (accepted != count) [[unlikely]]
            unsent_(all.subspan(accepted));
        return accepted;
    }

    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
    [[nodiscard]] const Unsent& unsent() const noexcept { return unsent_; }

private:
    port* to_;
    std::uint16_t queue_;
    std::size_t size_;
    std::size_t waiting_ = 0;
    Unsent unsent_;
    std::array<mbuf*, capacity> packets_;
};

}  // namespace cohort
