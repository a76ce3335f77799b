#include "cohort/ipc/attach.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/ipc/socket.hpp"

#include <array>
#include <cerrno>

#include <fmt/format.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cohort::ipc {
namespace {

/// Waits for the reply; its descriptors go to `fds`.
wire::attach_reply receive_reply(int connection, std::vector<file_descriptor>& fds, deadline until)
{
    alignas(8) std::array<std::byte, wire::max_bytes> buffer;
    if (!wait_readable(connection, until))
        throw error{errc::timed_out,
                    fmt::format("pid {} accepted the connection but did not answer in "
                                "time; is it stopped?",
                                peer_of(connection).pid)};
    auto received = receive_message(connection, buffer);
    if (received.status == received_message::status::closed)
        throw error{errc::primary_lost,
                    fmt::format("pid {} closed the connection without an answer; it died or "
                                "serves another user; try again",
                                peer_of(connection).pid)};
    const auto* reply = wire::as<wire::attach_reply>(std::span{buffer}.first(received.bytes),
                                                     wire::kind::attach_reply);
    if (received.status != received_message::status::message || !reply)
        throw error{errc::bad_input,
                    "the answer to the attach is cut or not one of cohort; does another program "
                    "listen there, or is the limit of descriptors too low (ulimit -n)?"};
    if (reply->refusal != 0)
        throw error{static_cast<errc>(reply->refusal), std::string{reply->sentence.view()}};
    if (reply->layout_hash != layout_hash())
        throw error{
            errc::layout_mismatch,
            fmt::format(
                "the domain has layout {:#018x} but this program was built with {:#018x}; run "
                "the same version of cohort everywhere",
                reply->layout_hash, layout_hash())};
    fds = std::move(received.fds);
    return *reply;
}

region_files sort_files(const wire::attach_reply& reply, std::vector<file_descriptor> fds,
                        map_access access)
{
    region_files files;
    std::size_t next = 0;
    const auto take = [&](file_descriptor& to) {
        if (next < fds.size())
            to = std::move(fds[next]);
        ++next;
    };
    take(files.control);
    if (access == map_access::read_write)
        take(files.life);
    for (std::size_t i = 0; i != files.segments.size(); ++i)
        if ((reply.segment_lists >> i & 1u) != 0)
            take(files.segments[i]);
    if (next != fds.size())
        throw error{errc::bad_input,
                    fmt::format("{} descriptors came with the region but {} were announced; raise "
                                "the limit of descriptors (ulimit -n), or run the same version of "
                                "cohort everywhere",
                                fds.size(), next)};
    return files;
}

/// Reads the header through a mapping of its own before the window is touched.
void check_before_mapping(int control, const region_place& announced)
{
    struct stat status {};
    if (::fstat(control, &status) != 0)
        throw_errno(errno, "cannot look at the region");
    const auto bytes = static_cast<std::uint64_t>(status.st_size);
    if (bytes < sizeof(region_header)) {
        const region_header nothing;
        check_header(nothing, bytes);  // throws region_truncated
    }
    void* at = ::mmap(nullptr, sizeof(region_header), PROT_READ, MAP_SHARED, control, 0);
    if (at == MAP_FAILED)
        throw_errno(errno, "cannot map the header of the region");
    struct unmapper {
        void* at;
        ~unmapper() { ::munmap(at, sizeof(region_header)); }
    } const scope{at};
    const auto& header = *static_cast<const region_header*>(at);
    check_header(header, bytes);
    if (header.window_base != announced.window_base ||
        header.window_bytes != announced.window_bytes ||
        header.region_bytes != announced.region_bytes)
        throw error{
            errc::region_garbage,
            fmt::format("the region of {} bytes says it lies at {:#x} with {} but was announced "
                        "with {} bytes at {:#x} with {}; stop its members and start anew",
                        header.region_bytes, header.window_base, bytes_text(header.window_bytes),
                        announced.region_bytes, announced.window_base,
                        bytes_text(announced.window_bytes))};
}

}  // namespace

void check_server(int connection, const rendezvous& place)
{
    const auto server = peer_of(connection);
    if (!is_trusted(connection, place.group()))
        throw error{
            errc::wrong_owner,
            fmt::format("the domain is served by uid {} (pid {}) but this process runs as uid {}; "
                        "set COHORT_RUNTIME_DIR to a directory of your own",
                        server.uid, server.pid, ::geteuid())};
}

void ask_for_region(int connection, const rendezvous& place, wire::attach_as as,
                    std::string_view name, std::span<const int> fds)
{
    check_server(connection, place);
    const wire::attach_request wish{
        .layout_hash = layout_hash(), .as = as, .pid = ::getpid(), .name = fixed_name<64>{name}};
    if (send_message(connection, wire::bytes_of(wish), fds))
        return;
    if (errno == EPIPE || errno == ECONNRESET)
        throw error{errc::primary_lost,
                    fmt::format("pid {} died before it took the attach request; try again",
                                peer_of(connection).pid)};
    throw_errno(errno, "cannot send the attach request");
}

region_mapping take_region(int connection, map_access access, deadline until)
{
    std::vector<file_descriptor> received;
    const auto reply = receive_reply(connection, received, until);
    auto files = sort_files(reply, std::move(received), access);
    return map_region(std::move(files), {reply.window_base, reply.window_bytes, reply.region_bytes},
                      access);
}

region_mapping map_region(region_files files, const region_place& where, map_access access)
{
    check_before_mapping(files.control.get(), where);
    refuse_locked_future();
    COHORT_FAULT_POINT("attach.before_map");
    return region_mapping{std::move(files), where, access};
}

region_mapping receive_region(int connection, const rendezvous& place, wire::attach_as as,
                              std::string_view name, std::span<const int> fds, map_access access,
                              deadline until)
{
    ask_for_region(connection, place, as, name, fds);
    return take_region(connection, access, until);
}

}  // namespace cohort::ipc
