#pragma once
/// The two directions of one descriptor of a tap port: see tap_driver.hpp for the protocol.

#include "cohort/packet/mbuf.hpp"
#include "cohort/port/port_driver.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include <sys/uio.h>

namespace cohort::detail {

/// A queue's own words, port_queue_layout::aux. A frame is under way if the position is not, or tx:
/// is, what the first one says.
namespace tap_queue_word {
inline constexpr std::size_t reading = 0;  ///< rx: READING, the position once the frame is in
inline constexpr std::size_t taken = 1;    ///< rx: TAKEN, written by the kernel; see `untaken`
inline constexpr std::size_t drops = 2;    ///< rx 0: the kernel's count when it was last read
inline constexpr std::size_t writing = 0;  ///< tx: WRITING, the position once the frame is out
inline constexpr std::size_t errors = 1;   ///< tx: `errors` before that frame
}  // namespace tap_queue_word

/// A frame for a tap port has this many segments at most; more are gathered first.
inline constexpr std::size_t most_tap_segments = 32;

/// The longest frame of an interface with that MTU: with a VLAN tag.
[[nodiscard]] std::size_t longest_tap_frame(std::uint32_t mtu) noexcept;

class tap_rx {
public:
    tap_rx(const port_layout& port, port_queue_layout& queue, int device)
        : port_{port}
        , queue_{queue}
        , device_{device}
        , longest_{longest_tap_frame(port.mtu)}
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
    [[nodiscard]] std::optional<std::size_t> read_frame(std::span<iovec> pieces) noexcept;

    const port_layout& port_;
    port_queue_layout& queue_;
    int device_;
    std::size_t longest_;
    std::optional<pktmbuf_pool> pool_;
};

class tap_tx {
public:
    tap_tx(const port_layout& port, port_queue_layout& queue, int device)
        : queue_{queue}
        , device_{device}
        , longest_{longest_tap_frame(port.mtu)}
        , gathered_(longest_)
    {
    }
    bool open() noexcept;
    std::size_t burst(std::span<mbuf* const> packets) noexcept;

private:
    [[nodiscard]] bool send(mbuf& packet) noexcept;
    [[nodiscard]] int write_frame(const mbuf& packet) noexcept;

    port_queue_layout& queue_;
    int device_;
    std::size_t longest_;
    std::vector<std::byte> gathered_;  // the owner's
};

}  // namespace cohort::detail
