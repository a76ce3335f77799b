#pragma once
/// The two directions of one socket of an af_xdp port: see xdp_driver.hpp for the protocol.

#include "cohort/packet/mbuf.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"
#include "xdp_device.hpp"

#include <array>
#include <cstddef>
#include <span>

namespace cohort::detail {

/// A queue's own words, port_queue_layout::aux.
namespace xdp_queue_word {
inline constexpr std::size_t posted = 0;  ///< rx: POSTING, slots of the fill ring written so far
inline constexpr std::size_t drops = 1;   ///< rx: the kernel's count when it was last read
}  // namespace xdp_queue_word

class xdp_rx {
public:
    xdp_rx(xdp_device& device, std::uint16_t queue, const xdp_rings& rings, int socket)
        : device_{device}
        , queue_{device.port().rx[queue]}
        , rings_{rings}
        , socket_{socket}
        , number_{queue}
        , word_{posted_word(device.port().index, queue)}
    {
    }
    bool open(mempool_layout* pool) noexcept;
    std::size_t burst(std::span<mbuf*> packets) noexcept;
    [[nodiscard]] rx_outlook arm() noexcept;
    [[nodiscard]] int descriptor() const noexcept { return socket_; }

private:
    void take_back_unposted() noexcept;
    void refill() noexcept;
    [[nodiscard]] std::size_t post(std::size_t wanted) noexcept;
    [[nodiscard]] mbuf* packet_in(const xdp_desc& slot) const noexcept;

    xdp_device& device_;
    port_queue_layout& queue_;
    const xdp_rings& rings_;
    int socket_;
    std::uint16_t number_;
    std::uint64_t word_;
};

class xdp_tx {
public:
    xdp_tx(xdp_device& device, std::uint16_t queue, const xdp_rings& rings, int socket,
           frame_limits limits)
        : device_{device}
        , queue_{device.port().tx[queue]}
        , rings_{rings}
        , socket_{socket}
        , limits_{limits}
        , word_{sending_word(device.port().index, queue)}
    {
    }
    bool open() noexcept;
    std::size_t burst(std::span<mbuf* const> packets) noexcept;
    /// Hands over what was accepted, and waits up to a second for the kernel to let go of it.
    /// For the owner of the queue. False when it has not.
    [[nodiscard]] bool flush() noexcept;

private:
    /// A burst as it is put together.
    struct staged {
        std::array<mbuf*, max_port_burst> given;
        std::array<mbuf*, max_port_burst> copied;
        std::size_t packets = 0;
        std::size_t copies = 0;
        std::uint64_t bytes = 0;
    };
    void complete() noexcept;
    void kick() noexcept;
    [[nodiscard]] bool is_sendable(const mbuf& packet) const noexcept;
    [[nodiscard]] mbuf* copy_of(const mbuf& packet) const noexcept;
    void stage(std::span<mbuf* const> packets, std::uint64_t position, staged& burst) noexcept;

    xdp_device& device_;
    port_queue_layout& queue_;
    const xdp_rings& rings_;
    int socket_;
    frame_limits limits_;
    std::uint64_t word_;
};

/// nullptr when the words of a queue's two directions fit its rings and the custody words of the
/// pool, else what does not, in words. Of a queue that nobody works at.
[[nodiscard]] const char* find_fault(const xdp_device& device, std::uint16_t queue,
                                     const xdp_rings& rings) noexcept;

}  // namespace cohort::detail
