#pragma once
/// Requests of those who are no members: over a member's socket, answered on the same connection.
///
/// *Thread safety*: any thread; a connection by one at a time.
/// *When a process dies here*: a connection that ends tells the other side. Descriptors under way
/// are the kernel's, which closes them.

#include "cohort/base/clock.hpp"
#include "cohort/ipc/courier.hpp"
#include "cohort/ipc/requests.hpp"
#include "cohort/ipc/wire.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::ipc {

/// Asks the member that listens at `socket`. Payload above 64 KiB is refused; that of the reply may
/// have any size.
[[nodiscard]] answer ask_over_socket(const std::string& socket, std::string_view action,
                                     std::string_view text, std::span<const int> fds,
                                     deadline until);

/// What came behind a question: the payload and the action in it, or nothing when it is unsound.
struct foreign_request {
    std::uint64_t id = 0;
    std::string_view action;
    std::span<const std::byte> payload;
};
[[nodiscard]] std::optional<foreign_request> read_question(
    std::span<const std::byte> bytes) noexcept;

/// Answers it: `sent` is a reply or a refusal.
courier::receipt send_reply(int connection, std::uint64_t id, const letter& sent);

}  // namespace cohort::ipc
