#pragma once
/// What a port does to each packet by the way, for everybody who bursts on it.
///
/// Semantics of RTE_ETH_RX_OFFLOAD_VLAN_STRIP and _RSS_HASH, of packet types, and of the tx
/// offloads that an mbuf's flags ask for. All of it is done in software, by the lane that bursts,
/// with every driver: the cost is that lane's. What a tap port with offload=1 leaves to the kernel
/// is apart from this. A port that does none of it pays one load beside
/// another.
///
///   received:  driver, capture, offloads, rx callbacks, caller
///   sent:      caller, tx callbacks, offloads, capture, driver
///
/// A packet that cannot be made ready counts as sent and as an error of the queue, as with a device
/// that refuses it, and is freed. One that is not even sound (`find_fault`) is not: it stays in its
/// member's custody, unused. What found no room may have been made ready: that is by its flags,
/// which are cleared, so sending it later does nothing twice.
///
/// Left as they are received: packets with several handles, tags in data that others show as well,
/// tags other than 0x8100, and tags and types on links other than Ethernet, which a pcap port may
/// have; to send a tag there makes no sense, and nobody prevents it.
///
/// *Thread safety*: any lane may set and ask; each burst goes by what it finds.
/// *When a process dies here*: the buffers come back as any others. A packet that is redelivered
/// may not have been worked on, or only half, as vlan.hpp and tx_prepare.hpp say: who takes such
/// packets goes by their flags.

#include <cstdint>

namespace cohort {

struct port_offloads {
    bool vlan_strip = false;  ///< rx: the outermost tag goes to `vlan_tci`: vlan.hpp
    /// rx: type, and lengths in `tx_offload` unless these are of what lacks a checksum:
    /// packet_type.hpp
    bool packet_type = false;
    /// rx: `flow_hash` of parse.hpp to `hash.rss`, flag rx_rss_hash, in place of what a device
    /// says: the same for both directions of a flow, with each driver, where its headers are in the
    /// first segment.
    bool flow_hash = false;
    bool tx_prepare = false;  ///< tx: checksums and a VLAN tag, by its flags: tx_prepare.hpp

    /// The word in the region; 0 = none of it.
    [[nodiscard]] static constexpr port_offloads unpack(std::uint32_t word) noexcept
    {
        return {(word & 1) != 0, (word & 2) != 0, (word & 4) != 0, (word & 8) != 0};
    }
    [[nodiscard]] constexpr std::uint32_t pack() const noexcept
    {
        return std::uint32_t{vlan_strip} | std::uint32_t{packet_type} << 1 |
               std::uint32_t{flow_hash} << 2 | std::uint32_t{tx_prepare} << 3;
    }
    friend bool operator==(const port_offloads&, const port_offloads&) = default;
};

}  // namespace cohort
