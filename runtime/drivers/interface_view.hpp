#pragma once
/// An interface of the kernel, seen through a socket of its network namespace: the members of a
/// port need not be in that one. What the drivers af_packet, af_xdp, pcap and tap have in common.
///
/// *Thread safety*: any thread.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/port/port_link.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace cohort::detail {

/// The state of interface `index`; down when there is none. `socket` is of any kind that the kernel
/// lets ask: a datagram socket or a packet socket, but not an AF_XDP socket.
[[nodiscard]] port_link look_at_interface(int socket, int index) noexcept;
/// Throws `invalid_argument` when there is none: for who has just seen it.
[[nodiscard]] port_link look_at_present_interface(int socket, int index);

/// Its MTU, or 0 when there is none. Two system calls.
[[nodiscard]] std::uint32_t mtu_of_interface(int socket, int index) noexcept;

/// Returns 0 or an errno. The wish is the packet socket's and ends with it. To begin or end twice
/// is to do it once; to begin it again ends it for a moment.
[[nodiscard]] int receive_also(int packet_socket, int index, reception what, bool on) noexcept;

/// Of the calling thread's namespace. A packet socket receives nothing until it is bound. Throws
/// `no_permission`, or what the kernel says.
enum class view_kind { datagram, packet };
[[nodiscard]] file_descriptor open_view(view_kind kind);

/// The name of the interface that the options of a port tell, or empty.
[[nodiscard]] std::string interface_option(std::string_view options);

struct interface_facts {
    int index = 0;
    port_link link;
};
/// In the calling thread's namespace. Throws `invalid_argument` when there is none of that name.
[[nodiscard]] interface_facts look_up_interface(const std::string& name);

}  // namespace cohort::detail
