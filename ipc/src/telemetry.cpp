#include "cohort/ipc/telemetry.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/socket.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <sys/stat.h>
#include <unistd.h>

namespace cohort::ipc {
namespace {

constexpr auto live_server_patience = 100ms;

std::string runtime_directory()
{
    if (const char* given = std::getenv("RUNTIME_DIRECTORY"); given && *given)
        return given;
    if (::getuid() == 0)
        return "/var/run";
    const char* session = std::getenv("XDG_RUNTIME_DIR");
    return session && *session ? session : "/tmp";
}

enum class server { none, predecessor, somebody };

/// The process that listens at `path`, or nothing when nobody does.
std::optional<pid_t> listener_at(const std::string& path)
{
    try {
        return peer_of(connect_to(path, deadline_in(live_server_patience)).get()).pid;
    } catch (const error& refused) {
        if (refused.reason() == errc::no_such_domain)
            return std::nullopt;
        return 0;  // there, and too busy to accept
    }
}

server who_serves(const std::string& path, const std::string& primary_socket)
{
    const auto found = listener_at(path);
    if (!found)
        return server::none;
    const bool also_primary =
        *found != 0 && !primary_socket.empty() && found == listener_at(primary_socket);
    return also_primary ? server::predecessor : server::somebody;
}

std::uint64_t inode_of(const std::string& path)
{
    struct stat there {};
    return ::stat(path.c_str(), &there) == 0 ? there.st_ino : 0;
}

/// The directory, for this user alone. False when it is somebody else's.
bool make_private(const std::filesystem::path& directory)
{
    std::error_code failed;
    std::filesystem::create_directories(directory.parent_path(), failed);
    ::mkdir(directory.c_str(), 0700);
    struct stat made {};
    return ::lstat(directory.c_str(), &made) == 0 && S_ISDIR(made.st_mode) &&
           made.st_uid == ::geteuid();
}

}  // namespace

std::string telemetry_path(std::string_view domain_name)
{
    return fmt::format("{}/dpdk/{}/dpdk_telemetry.v2", runtime_directory(), domain_name);
}

telemetry_socket telemetry_socket::listen(std::string_view domain_name,
                                          const std::string& primary_socket)
{
    const auto path = telemetry_path(domain_name);
    try {
        const bool ours = make_private(std::filesystem::path{path}.parent_path());
        const auto before = ours ? who_serves(path, primary_socket) : server::somebody;
        if (before == server::somebody) {
            log(log_level::warning, "no telemetry for DPDK's clients: {} is somebody else's", path);
            return {};
        }
        auto listener = before == server::predecessor ? listen_in_place_of(path, std::nullopt)
                                                      : listen_at(path);
        return {std::move(listener), path};
    } catch (const error& refused) {
        log(log_level::warning, "no telemetry for DPDK's clients: {}", refused.what());
        return {};
    }
}

telemetry_socket::telemetry_socket(file_descriptor listener, std::string path)
    : listener_{std::move(listener)}
    , path_{std::move(path)}
    , inode_{inode_of(path_)}
{
}

telemetry_socket& telemetry_socket::operator=(telemetry_socket&& other) noexcept
{
    std::swap(listener_, other.listener_);
    std::swap(path_, other.path_);
    std::swap(inode_, other.inode_);
    return *this;
}

bool telemetry_socket::is_in_place() const
{
    return listener_ && inode_of(path_) == inode_;
}

telemetry_socket::~telemetry_socket()
{
    if (!is_in_place())
        return;
    ::unlink(path_.c_str());
    const auto directory = std::filesystem::path{path_}.parent_path();
    ::unlink(aside_of(path_).c_str());  // of a successor that was killed on its way
    ::rmdir(directory.c_str());
    ::rmdir(directory.parent_path().c_str());
}

std::string telemetry_greeting()
{
    return nlohmann::json{{"version", "cohort " COHORT_VERSION},
                          {"pid", ::getpid()},
                          {"max_output_len", max_telemetry_bytes}}
        .dump();
}

std::string telemetry_answer(const queries& known, std::string_view asked)
{
    while (!asked.empty() && (asked.back() == '\0' || asked.back() == '\n'))
        asked.remove_suffix(1);
    auto text = known.answer(asked);
    if (text.size() <= max_telemetry_bytes)
        return text;
    const auto path = asked.substr(0, std::min(asked.find(','), asked.size()));
    const auto too_long = fmt::format("the answer has {} bytes and at most {} fit; ask for less",
                                      text.size(), max_telemetry_bytes);
    nlohmann::json short_answer;
    short_answer[std::string{path}] = too_long;
    return short_answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cohort::ipc
