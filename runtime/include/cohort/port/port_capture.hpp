#pragma once
/// Reads along what passes a port, while its owners go on.
///
/// Each owner copies what it receives, and what the driver accepted of it, into a stream of its
/// queue (capture_layout.hpp). It never waits: what finds no room, because the capturer is slow,
/// stopped or dead, is counted as dropped. A port that nobody captures costs its owners a look at a
/// word in a line that they have anyway.
///
/// *Thread safety*: a capture belongs to the thread that began it.
/// *When a process dies here*: the capturer's end ends the capture: its reaper frees the port. A
/// queue's owner leaves what it has published; its successor carries on there.

#include "cohort/port/burst_journal.hpp"
#include "cohort/port/capture_layout.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace cohort {

class membership;

struct captured_packet {
    std::span<const std::byte> bytes;  ///< good until the next call
    std::uint32_t length = 0;          ///< on the wire
    std::uint64_t time_ns = 0;         ///< since 1970
    port_direction direction{};
    std::uint16_t queue = 0;
};

/// Made by `domain::capture_port`.
class port_capture {
public:
    /// Throws `errc::in_use` while another live lane captures the port.
    port_capture(port_layout& port, std::string_view name);
    /// From here on packets are recorded.
    void begin(capture_layout& capture, std::uint32_t zone_index, std::uint32_t snap_length);
    ~port_capture();
    port_capture(port_capture&& other) noexcept;
    port_capture(const port_capture&) = delete;
    port_capture& operator=(const port_capture&) = delete;

    /// The next packet, the earliest of all queues, or nothing at this moment. Lets go of the port
    /// when somebody destroys it, which waits for that for a second. Throws `errc::bad_input` when
    /// the streams are not sound.
    [[nodiscard]] std::optional<captured_packet> next();
    /// False once the port is being destroyed: then there is nothing more to come.
    [[nodiscard]] bool is_on() const noexcept { return port_ != nullptr; }
    /// Packets that found no room since the capture began.
    [[nodiscard]] std::uint64_t dropped() const noexcept;

private:
    [[nodiscard]] const capture_record* record_at(std::size_t stream);
    [[nodiscard]] std::uint64_t dropped_now() const noexcept;
    void free_last() noexcept;
    void let_go() noexcept;

    port_layout* port_;
    lane_id lane_;
    capture_layout* capture_ = nullptr;
    std::uint32_t word_ = 0;  ///< of port_layout::capture
    std::uint64_t dropped_before_ = 0;
    std::uint64_t dropped_at_end_ = 0;
    std::size_t last_ = 0;          ///< stream of the packet returned last
    std::uint32_t last_bytes_ = 0;  ///< of its record; 0 = there is none
};

/// Ends what the lane captures. For that lane, or its reaper. Idempotent.
void end_capture(port_layout& port, lane_id lane) noexcept;

}  // namespace cohort
