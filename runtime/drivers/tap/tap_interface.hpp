#pragma once
/// The kernel's side of a tap port: the settings of an interface, and what it counts.

#include "cohort/base/file_descriptor.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <linux/if_ether.h>

namespace cohort::detail {

using mac_address = std::array<std::uint8_t, ETH_ALEN>;

/// "02:00:00:00:00:01". Throws `invalid_argument` for what is no address of one station.
[[nodiscard]] mac_address parse_mac(std::string_view text);

struct interface_settings {
    std::optional<mac_address> mac{};
    std::optional<std::uint32_t> mtu{};
};
/// Sets what is given and brings the interface up; returns its index. In the network namespace of
/// the calling thread. Throws `no_permission`, or what the kernel says.
int set_up_interface(const std::string& name, const interface_settings& wanted);

/// How many queues of the interface have a reader; nothing when it is not a tap interface.
[[nodiscard]] std::optional<std::uint32_t> attached_queues(const std::string& name);

/// What the kernel counts for the interfaces of the calling thread's namespace, to be read by any
/// process that the descriptor reaches.
[[nodiscard]] file_descriptor open_interface_counts();
/// Frames that the kernel could not leave at the interface; nothing when it is gone.
[[nodiscard]] std::optional<std::uint64_t> dropped_frames(int counts,
                                                          std::string_view name) noexcept;

}  // namespace cohort::detail
