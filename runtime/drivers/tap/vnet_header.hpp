#pragma once
/// The offload header of a tap port: what the kernel and a port leave for each other to do.
///
///   received   a frame whose L4 checksum the kernel has not worked out (it has never been on a
///              wire) gets the tx flags and lengths by which tx_prepare.hpp, or another tap port
///              with offload=1, completes it, and rx_l4_cksum_none; one that the kernel has checked
///              gets rx_l4_cksum_good
///   sent       what the flags tx_ip_cksum, tx_tcp_cksum, tx_udp_cksum and tx_tcp_seg ask for, the
///              kernel does, all but the checksum of the IPv4 header, in a copy of the headers: the
///              packet may be shared
///
/// *Thread safety*: the packet is the caller's.
/// *When a process dies here*: nothing is shared.

#include "cohort/packet/mbuf.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cohort::detail {

/// struct virtio_net_hdr of the specification of virtio, section 5.1.6, in the byte order of this
/// machine; <linux/virtio_net.h>, which has it too, is no C++.
struct vnet_header {
    static constexpr std::uint8_t needs_checksum = 1;  ///< bits of `flags`
    static constexpr std::uint8_t data_valid = 2;
    static constexpr std::uint8_t tcp_over_ipv4 = 1;  ///< values of `segments`
    static constexpr std::uint8_t tcp_over_ipv6 = 4;

    std::uint8_t flags = 0;
    std::uint8_t segments = 0;
    std::uint16_t header_bytes = 0;   ///< before the payload that is cut into segments
    std::uint16_t segment_bytes = 0;  ///< of payload in each
    std::uint16_t checksum_start = 0;
    std::uint16_t checksum_offset = 0;  ///< from the start
};
static_assert(sizeof(vnet_header) == 10);

/// Marks a received packet by the header that came with it.
void note_vnet_header(const vnet_header& header, mbuf& packet) noexcept;

/// The header for a packet, and its first bytes, as the kernel wants them.
class vnet_headers {
public:
    /// False when the flags of the packet cannot be followed: see `fault_for_device`.
    [[nodiscard]] bool fill(const mbuf& packet) noexcept;

    [[nodiscard]] vnet_header& header() noexcept { return header_; }
    /// In the place of as many bytes of the packet; empty when nothing is asked for.
    [[nodiscard]] std::span<std::byte> rewritten() noexcept
    {
        return std::span{bytes_}.first(length_);
    }

private:
    static constexpr std::size_t most_bytes = 127 + 511 + 64;  // l2_len, l3_len, TCP with options

    vnet_header header_{};
    std::array<std::byte, most_bytes> bytes_;
    std::size_t length_ = 0;
};

}  // namespace cohort::detail
