#pragma once
/// The kernel's side of an af_xdp port in front of the sockets: a program at the interface that
/// sends what arrives at its queue i to the socket at place i of a map, if there is one, and lets
/// the kernel's own stack have the rest.

#include "cohort/base/file_descriptor.hpp"

#include <cstdint>
#include <string>

namespace cohort::detail {

enum class xdp_mode : std::uint64_t {
    skb = 0,     ///< the generic hook, which every interface has
    native = 1,  ///< the hook in the interface's driver
};

/// Throws `no_permission`, or what the kernel says.
[[nodiscard]] file_descriptor make_socket_map(std::uint32_t places);
/// A program over that map. Throws `no_permission`, or what the kernel says.
[[nodiscard]] file_descriptor load_program(const file_descriptor& map);
/// Puts the program at the interface for as long as a process has the link. Throws `in_use` when
/// another program is there, `no_permission`, or what the kernel says.
[[nodiscard]] file_descriptor attach_program(const file_descriptor& program, int interface,
                                             const std::string& name, xdp_mode mode);

/// The link, or a new one in its place if somebody has detached it: 0, or why not.
[[nodiscard]] int restore_link(file_descriptor& link, int program, int interface,
                               xdp_mode mode) noexcept;
/// Nothing happens when it has been detached.
void detach_program(const file_descriptor& link);

/// Place `queue` of the map has that socket, or none: 0, or why not.
[[nodiscard]] int connect_socket(int map, std::uint32_t queue, int socket) noexcept;
void disconnect_socket(const file_descriptor& map, std::uint32_t queue);

}  // namespace cohort::detail
