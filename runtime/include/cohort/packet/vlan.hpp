#pragma once
/// VLAN tags out of Ethernet frames and into them. Semantics of rte_vlan_strip and rte_vlan_insert.
///
///   in the frame       addresses (12)  0x8100  tci  ether type …
///   beside the frame   addresses (12)               ether type …     tci in `vlan_tci`
///
/// *Thread safety*: the packet is the caller's.
/// *When a process dies here*: the buffer comes back as any other; but its first 16 bytes may be
/// half moved. Who takes redelivered packets and cannot bear that works on a copy.

#include "cohort/packet/mbuf.hpp"

namespace cohort {

/// Takes the outermost tag out into `vlan_tci`, sets rx_vlan and rx_vlan_stripped, and takes it off
/// the length in `tx_offload` that counts it (18 or more). False, and nothing done, when there is
/// none in the first segment, or others show these bytes as well.
[[nodiscard]] bool vlan_strip(mbuf& packet) noexcept;

/// Puts a tag of `vlan_tci` in; clears rx_vlan_stripped and tx_vlan, and adds to `l2_len` of
/// `tx_offload` (to `outer_l2_len` in a tunnel). False, and nothing done, when the headroom is too
/// small, the addresses are not in the first segment, or others show these bytes as well.
[[nodiscard]] bool vlan_insert(mbuf& packet) noexcept;

}  // namespace cohort
