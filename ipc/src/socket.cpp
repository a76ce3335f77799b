#include "cohort/ipc/socket.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace cohort::ipc {
namespace {

sockaddr_un address_of(const std::string& path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        throw error{
            errc::name_too_long,
            fmt::format("the socket path {} has {} characters; at most {} fit; set a shorter "
                        "COHORT_RUNTIME_DIR",
                        path, path.size(), sizeof address.sun_path - 1)};
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

file_descriptor new_socket()
{
    file_descriptor made{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!made)
        throw_errno(errno, "cannot make a unix socket");
    return made;
}

[[noreturn]] void throw_bind_failure(const std::string& path)
{
    if (errno == ENOENT)
        throw error{errc::no_such_domain,
                    fmt::format("the directory of {} does not exist any more, so its domain has "
                                "ended; start a primary with cohortd",
                                path)};
    throw_errno(errno, fmt::format("cannot bind {}", path));
}

}  // namespace

file_descriptor listen_at(const std::string& path, std::optional<unsigned> group)
{
    const auto address = address_of(path);
    auto listener = new_socket();
    ::unlink(path.c_str());
    if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        throw_bind_failure(path);
    ::chmod(path.c_str(), group ? 0660 : 0600);  // the directory gave it its group
    if (::listen(listener.get(), 64) != 0)
        throw_errno(errno, fmt::format("cannot listen at {}", path));
    return listener;
}

std::string aside_of(const std::string& path)
{
    return path.substr(0, path.rfind('/') + 1) + "next.sock";
}

file_descriptor listen_in_place_of(const std::string& path, std::optional<unsigned> group)
{
    const auto aside = aside_of(path);
    auto listener = listen_at(aside, group);
    if (::rename(aside.c_str(), path.c_str()) != 0)
        throw_bind_failure(path);
    return listener;
}

file_descriptor connect_to(const std::string& path, deadline until)
{
    const auto address = address_of(path);
    for (;;) {
        auto connected = new_socket();
        if (::connect(connected.get(), reinterpret_cast<const sockaddr*>(&address),
                      sizeof address) == 0)
            return connected;
        if (errno == ENOENT || errno == ECONNREFUSED)
            throw error{errc::no_such_domain,
                        fmt::format("nobody listens at {}; start a primary with cohortd", path)};
        if (errno != EAGAIN && errno != EINTR)  // EAGAIN: the listener's queue is full
            throw_errno(errno, fmt::format("cannot connect to {}", path));
        if (steady_clock::now() >= until)
            throw error{
                errc::timed_out,
                fmt::format("{} did not accept a connection in time; is its process stopped?",
                            path)};
        std::this_thread::sleep_for(1ms);
    }
}

bool send_message(int socket, std::span<const std::byte> bytes, std::span<const int> fds) noexcept
{
    alignas(cmsghdr) std::byte control[CMSG_SPACE(max_message_fds * sizeof(int))];
    iovec data{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
        if (fds.size() > max_message_fds)
            return false;
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        std::memset(control, 0, message.msg_controllen);
        auto* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
    }
    ssize_t sent = 0;
    do
        sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent == static_cast<ssize_t>(bytes.size());
}

received_message receive_message(int socket, std::span<std::byte> buffer)
{
    alignas(cmsghdr) std::byte control[CMSG_SPACE(max_message_fds * sizeof(int))];
    iovec data{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t got = 0;
    do
        got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);

    received_message result;
    if (got <= 0) {
        const bool later = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        result.status =
            later ? received_message::status::nothing_yet : received_message::status::closed;
        return result;
    }
    for (auto* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        const auto count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i != count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
            result.fds.emplace_back(fd);
        }
    }
    result.bytes = static_cast<std::size_t>(got);
    const bool cut = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    result.status = cut ? received_message::status::malformed : received_message::status::message;
    if (cut)
        result.fds.clear();
    return result;
}

bool wait_readable(int socket, deadline until) noexcept
{
    for (;;) {
        pollfd waited{socket, POLLIN, 0};
        const int ready = ::poll(&waited, 1, milliseconds_left(until));
        if (ready > 0)
            return true;
        if (ready == 0 || errno != EINTR)
            return false;
    }
}

credentials peer_of(int socket) noexcept
{
    ucred peer{};
    socklen_t length = sizeof peer;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return {0, ~0u, ~0u};
    return {peer.pid, peer.uid, peer.gid};
}

bool is_trusted(int socket, std::optional<unsigned> group) noexcept
{
    const auto peer = peer_of(socket);
    if (peer.uid == ::geteuid() || peer.uid == 0)
        return true;
    if (!group || peer.uid == ~0u)
        return false;
    std::array<gid_t, 1024> others{};
    socklen_t length = sizeof others;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, others.data(), &length) != 0)
        length = 0;
    const std::span known{others.data(), length / sizeof(gid_t)};
    return peer.gid == *group || std::find(known.begin(), known.end(), *group) != known.end();
}

}  // namespace cohort::ipc
