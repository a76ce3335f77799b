#pragma once
/// The rx side of a pcap port: packets out of captured bytes, wherever these come from.

#include "cohort/packet/mbuf.hpp"
#include "cohort/port/port_driver.hpp"
#include "pcap_reader.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace cohort::detail {

class captured_rx {
public:
    virtual ~captured_rx() = default;
    captured_rx(const captured_rx&) = delete;
    captured_rx& operator=(const captured_rx&) = delete;

    [[nodiscard]] bool open(mempool_layout* pool) noexcept;
    std::size_t burst(std::span<mbuf*> packets) noexcept;
    [[nodiscard]] virtual rx_outlook arm() noexcept = 0;
    /// See port_io::rx_descriptor.
    [[nodiscard]] virtual int descriptor() const noexcept = 0;

protected:
    captured_rx(port_layout& port, std::uint64_t snap_length)
        : port_{port}
        , queue_{port.rx[0]}
        , snap_length_{snap_length}
    {
    }

    /// Finds the place of the packet at `position`; false: not to be had now.
    [[nodiscard]] virtual bool seek(std::uint64_t position) noexcept = 0;
    /// Reads the packet at `position`. False when there is none now.
    [[nodiscard]] virtual bool fetch(std::uint64_t position, captured_packet& next) noexcept = 0;
    /// The packet before `position` is dealt with.
    virtual void pass(std::uint64_t) noexcept {}
    /// A burst has ended there.
    virtual void end_burst(std::uint64_t) noexcept {}

    /// Whether the packet at `position` is there; reads it.
    [[nodiscard]] bool peek(std::uint64_t position) noexcept;
    [[nodiscard]] bool has_next() const noexcept { return has_next_; }
    [[nodiscard]] port_layout& port() noexcept { return port_; }
    [[nodiscard]] port_queue_layout& queue() noexcept { return queue_; }

private:
    [[nodiscard]] bool fits_pool() noexcept;
    [[nodiscard]] mbuf* make_packet() noexcept;

    port_layout& port_;
    port_queue_layout& queue_;
    std::uint64_t snap_length_;
    std::optional<pktmbuf_pool> pool_;
    captured_packet next_;  // read but not delivered, when `has_next_`
    bool has_next_ = false;
};

}  // namespace cohort::detail
