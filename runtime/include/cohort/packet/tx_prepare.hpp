#pragma once
/// Packets made ready for a port: checked, and what their flags ask of a device done in software.
/// (A tap port with offload=1 leaves it to the kernel: port::prepare_tx.) Semantics of
/// rte_eth_tx_prepare and rte_validate_tx_offload.
///
/// What is done, by the flags and lengths that a DPDK application sets:
///
///   tx_ip_cksum                 the checksum of the IPv4 header at l2_len
///   tx_tcp_cksum, tx_udp_cksum  that of the L4 header at l2_len + l3_len, over all segments; the
///                               flag tx_ipv4 or tx_ipv6 says what it lies in
///   tx_vlan                     a tag of vlan_tci, put into the frame
///
/// What was done is cleared in `ol_flags`, so doing it again changes nothing.
///
/// *Thread safety*: the packets are the caller's.
/// *When a process dies here*: the buffers come back as any others. Killed between the work and the
/// flag, the work may be repeated: checksums come out the same, but a tag may be there twice. See
/// vlan.hpp for what else may be half done.

#include "cohort/packet/mbuf.hpp"

#include <cstddef>
#include <span>

namespace cohort {

/// nullptr when the packet is ready, else why it cannot be sent; then it is as it was.
[[nodiscard]] const char* prepare_tx(mbuf& packet) noexcept;

/// Why a device cannot do what the flags of a packet ask for, that knows checksums of IPv4, TCP and
/// UDP and segments of TCP, or nullptr. It puts no tags in.
[[nodiscard]] const char* fault_for_device(const mbuf& packet) noexcept;

/// How many are ready, from the first on; the next one is that of which `why` tells.
struct prepared {
    std::size_t count = 0;
    const char* why = nullptr;  ///< nullptr when all are
};
[[nodiscard]] prepared prepare_tx(std::span<mbuf* const> packets) noexcept;

}  // namespace cohort
