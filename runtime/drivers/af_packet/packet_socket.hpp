#pragma once
/// One packet socket with its rx and tx rings (TPACKET_V2), as a queue of an af_packet port.
///
///   | rx frame 0 | rx frame 1 | ... | tx frame 0 | tx frame 1 | ... |     one mapping
///
/// The rings are the kernel's memory, mapped by each member wherever its own address space has
/// room: nothing in the region points into them, for a position says which frame is meant. So they
/// take no place in the window.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/port/port_link.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <linux/if_packet.h>

namespace cohort::detail {

/// How the rings of a socket are cut. The same in every member.
struct ring_shape {
    static constexpr std::size_t header_bytes = TPACKET_ALIGN(sizeof(tpacket2_hdr));

    std::uint32_t frame_bytes = 0;
    std::uint32_t block_bytes = 0;
    std::uint32_t rx_frames = 0;
    std::uint32_t tx_frames = 0;

    /// Frames that hold any packet of that MTU, with a VLAN tag.
    [[nodiscard]] static ring_shape for_mtu(std::uint32_t mtu) noexcept;
    [[nodiscard]] std::uint32_t frames_per_block() const noexcept
    {
        return block_bytes / frame_bytes;
    }
    [[nodiscard]] std::size_t bytes() const noexcept
    {
        return std::size_t{frame_bytes} * (rx_frames + tx_frames);
    }
    [[nodiscard]] std::size_t tx_room() const noexcept { return frame_bytes - header_bytes; }
};

struct socket_wishes {
    int interface_index = 0;
    bool qdisc_bypass = true;
    bool hardware_time = false;
};

/// A socket that receives already. Throws `no_permission`, or what the kernel says.
[[nodiscard]] file_descriptor make_packet_socket(const socket_wishes& wishes,
                                                 const ring_shape& shape);
/// Throws `not_found` when the device of an interface does not stamp all that it receives.
void require_hardware_time(const std::string& interface);
/// Spreads what arrives over the sockets, by flow.
void join_fanout(std::span<const file_descriptor> sockets);

/// Frames of a ring, one after the other: a division for each would cost more than a short packet.
class frame_cursor {
public:
    frame_cursor(std::byte* ring, std::uint32_t frames, std::uint32_t frame_bytes,
                 std::uint64_t position) noexcept
        : ring_{ring}
        , end_{ring + std::size_t{frames} * frame_bytes}
        , at_{ring + position % frames * frame_bytes}
        , frame_bytes_{frame_bytes}
    {
    }
    [[nodiscard]] std::byte* operator*() const noexcept { return at_; }
    frame_cursor& operator++() noexcept
    {
        at_ += frame_bytes_;
        at_ = at_ == end_ ? ring_ : at_;
        return *this;
    }

private:
    std::byte* ring_;
    std::byte* end_;
    std::byte* at_;
    std::uint32_t frame_bytes_;
};

/// The rings of a socket in this process.
class mapped_rings {
public:
    mapped_rings() = default;
    mapped_rings(int socket, const ring_shape& shape);
    mapped_rings(mapped_rings&& other) noexcept;
    mapped_rings& operator=(mapped_rings&& other) noexcept;
    ~mapped_rings();

    [[nodiscard]] frame_cursor rx_from(std::uint64_t position) const noexcept
    {
        return {base_, shape_.rx_frames, shape_.frame_bytes, position};
    }
    [[nodiscard]] frame_cursor tx_from(std::uint64_t position) const noexcept
    {
        auto* const tx = base_ + std::size_t{shape_.rx_frames} * shape_.frame_bytes;
        return {tx, shape_.tx_frames, shape_.frame_bytes, position};
    }
    [[nodiscard]] const ring_shape& shape() const noexcept { return shape_; }

private:
    std::byte* base_ = nullptr;
    ring_shape shape_;
};

}  // namespace cohort::detail
