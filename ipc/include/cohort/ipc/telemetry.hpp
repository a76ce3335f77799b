#pragma once
/// The socket of DPDK's telemetry, version 2, for a domain: clients and collectors made for DPDK
/// see the domain as a process with its name as file prefix.
///
///   $RUNTIME_DIRECTORY/dpdk/<name>/dpdk_telemetry.v2, else /var/run/dpdk/... (root), else
///   $XDG_RUNTIME_DIR/dpdk/..., else /tmp/dpdk/...
///
///   client                         server (SOCK_SEQPACKET)
///                   <-----------   {"version": ..., "pid": ..., "max_output_len": ...}
///   command,params  ----------->
///                   <-----------   {"command": ...}
///
/// The primary listens there. A live server at that place is never displaced, whoever it is, but
/// for a primary of the same domain that hands over.
///
/// *Thread safety*: as of the dispatcher that serves it.
/// *When a process dies here*: the socket stays as debris, as DPDK's does, and the next primary of
/// that name takes its place; members still answer the same questions.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/ipc/queries.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace cohort::ipc {

/// Where DPDK's clients look for that file prefix.
[[nodiscard]] std::string telemetry_path(std::string_view domain_name);

/// A listening socket there; taken away at the end, with its directory when that is empty.
class telemetry_socket {
public:
    /// Empty when somebody serves there, or the place cannot be written; a log line says so. Who
    /// also serves at `primary_socket` is a predecessor, and is followed.
    static telemetry_socket listen(std::string_view domain_name,
                                   const std::string& primary_socket = {});

    telemetry_socket() = default;
    telemetry_socket(telemetry_socket&& other) noexcept = default;
    telemetry_socket& operator=(telemetry_socket&& other) noexcept;
    ~telemetry_socket();

    explicit operator bool() const noexcept { return static_cast<bool>(listener_); }
    [[nodiscard]] int fd() const noexcept { return listener_.get(); }
    /// False when nobody listens, or a successor has put a socket of its own at the path.
    [[nodiscard]] bool is_in_place() const;
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    telemetry_socket(file_descriptor listener, std::string path);

    file_descriptor listener_;
    std::string path_;
    std::uint64_t inode_ = 0;  ///< of the socket's file: a successor may have put its own there
};

/// What a newcomer is greeted with.
[[nodiscard]] std::string telemetry_greeting();
/// The answer to what a client sent, never longer than `max_telemetry_bytes`.
[[nodiscard]] std::string telemetry_answer(const queries& known, std::string_view asked);

}  // namespace cohort::ipc
