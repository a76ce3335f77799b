#pragma once
/// The two directions of one descriptor of a tap port: see tap_driver.hpp for the protocol.

#include "cohort/packet/mbuf.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"
#include "frame_tx.hpp"
#include "vnet_header.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <span>

#include <sys/uio.h>

namespace cohort::detail {

/// The words of an rx queue, port_queue_layout::aux. A frame is under way if the position is not
/// what the first one says. Those of a tx queue: frame_tx.hpp.
namespace tap_queue_word {
inline constexpr std::size_t reading = 0;  ///< READING, the position once the frame is in
inline constexpr std::size_t taken = 1;    ///< TAKEN, written by the kernel; see `untaken`
inline constexpr std::size_t drops = 2;    ///< queue 0: the kernel's count when it was last read
}  // namespace tap_queue_word

/// A frame for a tap port has this many segments at most; more are gathered first.
inline constexpr std::size_t most_tap_segments = 32;

class tap_rx {
public:
    tap_rx(const port_layout& port, port_queue_layout& queue, int device)
        : port_{port}
        , queue_{queue}
        , device_{device}
        , longest_{longest_frame(port.mtu)}
        , has_offload_{port.driver_words[tap_word::offload] != 0}
    {
    }
    bool open(mempool_layout* pool) noexcept;
    std::size_t burst(std::span<mbuf*> packets) noexcept;
    /// Silent when the interface is gone, or the queue detached.
    [[nodiscard]] rx_outlook arm() noexcept;
    [[nodiscard]] int descriptor() const noexcept { return device_; }

private:
    enum class outcome { received, dropped, nothing };

    [[nodiscard]] outcome receive(mbuf*& packet) noexcept;
    [[nodiscard]] outcome without_buffer() noexcept;
    [[nodiscard]] std::optional<std::size_t> read_frame(std::span<iovec> frame) noexcept;

    const port_layout& port_;
    port_queue_layout& queue_;
    int device_;
    std::size_t longest_;
    bool has_offload_;
    vnet_header offload_{};  // of the frame that was read last
    std::optional<pktmbuf_pool> pool_;
};

class tap_tx final : public frame_tx {
public:
    tap_tx(const port_layout& port, port_queue_layout& queue, int device)
        : frame_tx{queue, frame_limits_of(port).value()}
        , device_{device}
        , has_offload_{port.driver_words[tap_word::offload] != 0}
    {
    }
    bool open() noexcept;

private:
    [[nodiscard]] int give(const mbuf& packet) noexcept override;

    int device_;
    bool has_offload_;
    vnet_headers headers_;
};

}  // namespace cohort::detail
