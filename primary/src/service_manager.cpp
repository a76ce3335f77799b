#include "service_manager.hpp"

#include "cohort/base/file_descriptor.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace cohort {
namespace {

std::optional<std::int64_t> number_of(const char* variable) noexcept
{
    const char* text = std::getenv(variable);
    if (!text)
        return std::nullopt;
    std::int64_t number = 0;
    const char* end = text + std::strlen(text);
    const auto [stop, failure] = std::from_chars(text, end, number);
    return failure == std::errc{} && stop == end ? std::optional{number} : std::nullopt;
}

}  // namespace

service_manager::service_manager()
{
    if (const char* path = std::getenv("NOTIFY_SOCKET"); path && (*path == '/' || *path == '@'))
        socket_ = path;
    const auto allowed = number_of("WATCHDOG_USEC");
    const auto watched = number_of("WATCHDOG_PID");
    if (allowed && *allowed > 0 && (!watched || *watched == ::getpid()))
        interval_ =
            std::max(std::chrono::microseconds{*allowed / 2}, std::chrono::microseconds{1000});
}

void service_manager::tell(std::string_view lines) const noexcept
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket_.empty() || socket_.size() >= sizeof address.sun_path)
        return;
    std::memcpy(address.sun_path, socket_.data(), socket_.size());
    if (socket_.front() == '@')  // in the abstract name space
        address.sun_path[0] = '\0';
    const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
    const file_descriptor socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (socket)
        static_cast<void>(::sendto(socket.get(), lines.data(), lines.size(), MSG_NOSIGNAL,
                                   reinterpret_cast<const sockaddr*>(&address), bytes));
}

}  // namespace cohort
