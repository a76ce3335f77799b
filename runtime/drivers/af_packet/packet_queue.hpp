#pragma once
/// The two directions of one packet socket: see af_packet_driver.hpp for the protocol.

#include "cohort/packet/mbuf.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"
#include "packet_socket.hpp"

#include <optional>
#include <span>

namespace cohort::detail {

class packet_rx {
public:
    packet_rx(const port_layout& port, port_queue_layout& queue, const mapped_rings& rings,
              int socket)
        : port_{port}
        , queue_{queue}
        , rings_{rings}
        , socket_{socket}
    {
    }
    bool open(mempool_layout* pool) noexcept;
    std::size_t burst(std::span<mbuf*> packets) noexcept;
    [[nodiscard]] rx_outlook arm() noexcept;
    [[nodiscard]] int descriptor() const noexcept { return socket_; }

private:
    [[nodiscard]] std::size_t count_ready(std::uint64_t from, std::size_t most) const noexcept;
    [[nodiscard]] mbuf* copy_out(const std::byte* frame, mbuf* into) noexcept;
    void give_back(std::uint64_t from, std::uint64_t to) noexcept;

    const port_layout& port_;
    port_queue_layout& queue_;
    const mapped_rings& rings_;
    int socket_;
    std::optional<pktmbuf_pool> pool_;
};

class packet_tx {
public:
    packet_tx(port_queue_layout& queue, const mapped_rings& rings, int socket, int interface,
              frame_limits limits)
        : queue_{queue}
        , rings_{rings}
        , socket_{socket}
        , interface_{interface}
        , at_creation_{limits}
    {
    }
    bool open() noexcept;
    std::size_t burst(std::span<mbuf* const> packets) noexcept;

private:
    [[nodiscard]] frame_limits limits_for(std::span<mbuf* const> packets) const noexcept;
    [[nodiscard]] static bool stage(std::byte* frame, const mbuf& packet) noexcept;
    void request(std::uint64_t from, std::uint64_t to) noexcept;
    [[nodiscard]] bool was_turned_down() const noexcept;
    /// False when the kernel refuses, for another reason than a lack that passes.
    bool kick() noexcept;

    port_queue_layout& queue_;
    const mapped_rings& rings_;
    int socket_;
    int interface_;
    frame_limits at_creation_;
};

}  // namespace cohort::detail
