#pragma once
/// Unix sockets that carry whole messages and descriptors (SOCK_SEQPACKET, SCM_RIGHTS).
///
/// *Thread safety*: one reader and one writer per socket.

#include "cohort/base/clock.hpp"
#include "cohort/base/file_descriptor.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cohort::ipc {

inline constexpr std::size_t max_message_fds = 253;  ///< the kernel's SCM_MAX_FD

/// A listening socket at `path`; what was there before is removed. The caller holds the domain's
/// lock, so it is debris. This user alone may connect, and `group` if there is one, which is that
/// of the directory (rendezvous::group). Throws `errc::no_such_domain` when the directory is gone.
[[nodiscard]] file_descriptor listen_at(const std::string& path,
                                        std::optional<unsigned> group = std::nullopt);
/// Where a listener is made that is to take the place of the one at `path`.
[[nodiscard]] std::string aside_of(const std::string& path);
/// The same by a rename from there: whoever connects finds the listener that was
/// there or the new one, never none. One process at a time in a directory.
[[nodiscard]] file_descriptor listen_in_place_of(const std::string& path,
                                                 std::optional<unsigned> group);

/// Throws `errc::no_such_domain` when nobody listens and `timed_out` at the deadline.
[[nodiscard]] file_descriptor connect_to(const std::string& path, deadline until);

/// Sends one message. False when the peer is gone or does not take it now (its queue is full).
[[nodiscard]] bool send_message(int socket, std::span<const std::byte> bytes,
                                std::span<const int> fds = {}) noexcept;

struct received_message {
    enum class status { message, nothing_yet, closed, malformed } status = status::closed;
    std::size_t bytes = 0;
    std::vector<file_descriptor> fds;
};

/// Reads one message into `buffer` without waiting. Descriptors are close-on-exec; a message whose
/// bytes or descriptors were cut is `malformed`, and its descriptors are closed.
[[nodiscard]] received_message receive_message(int socket, std::span<std::byte> buffer);

/// Waits until the socket can be read. False at the deadline.
[[nodiscard]] bool wait_readable(int socket, deadline until) noexcept;

/// The peer, by SO_PEERCRED.
struct credentials {
    int pid = 0;
    unsigned uid = 0;
    unsigned gid = 0;
};
[[nodiscard]] credentials peer_of(int socket) noexcept;

/// Whether the peer may take part: it is this user's or root's, or it is in the domain's group, if
/// there is one (rendezvous::group), by its first group or another (SO_PEERGROUPS).
[[nodiscard]] bool is_trusted(int socket, std::optional<unsigned> group) noexcept;

}  // namespace cohort::ipc
