#pragma once
/// What a port tells of its device, and which frames the device is to receive.
///
/// Semantics of rte_eth_link_get_nowait, rte_eth_macaddr_get, rte_eth_dev_get_mtu,
/// rte_eth_promiscuous_enable and rte_eth_allmulticast_enable. Ports without a device (null, ring,
/// pcap at files) are up while they are started, and receive what there is.
///
/// *When a process dies here*: in the middle of a change the device may still, or already, receive
/// what `port_link` does not tell; the same call again brings both together. What the device
/// receives ends with the port.

#include <array>
#include <cstdint>

namespace cohort {

/// As the kernel tells it now. An interface that is gone is down, and the rest is 0.
struct port_link {
    bool up = false;          ///< it is set up, and there is somebody at the other end
    bool full_duplex = true;  ///< where the speed is known
    bool promiscuous = false;
    bool all_multicast = false;
    std::uint32_t speed = 0;  ///< in Mbit/s; 0 = not known
    std::uint32_t mtu = 0;    ///< 0 = no device
    std::array<std::uint8_t, 6> mac{};
};

/// Frames that an interface passes on besides those for its own address.
enum class reception : std::uint8_t {
    promiscuous = 1,    ///< all
    all_multicast = 2,  ///< those for any group
};

}  // namespace cohort
