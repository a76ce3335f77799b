#include "pcap_writer.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cohort::detail {
namespace {

struct file_header {
    std::uint32_t magic = 0xa1b23c4d;  // nanoseconds, in the byte order of this machine
    std::uint16_t version_major = 2;
    std::uint16_t version_minor = 4;
    std::uint32_t time_zone = 0;
    std::uint32_t accuracy = 0;
    std::uint32_t snap_length = capture_snap_length;
    std::uint32_t link_type = 0;
};
static_assert(sizeof(file_header) == 24);

struct record_header {
    std::uint32_t seconds = 0;
    std::uint32_t nanoseconds = 0;
    std::uint32_t captured = 0;
    std::uint32_t on_wire = 0;
};
static_assert(sizeof(record_header) == 16);

/// Room for a usual burst, and for any packet alone: so one write is always enough.
constexpr std::size_t buffer_bytes = 2 * (capture_snap_length + sizeof(record_header));

record_header header_of(const mbuf& packet, std::uint32_t snap_length) noexcept
{
    constexpr std::uint64_t second = 1'000'000'000;
    return {.seconds = static_cast<std::uint32_t>(packet.timestamp / second),
            .nanoseconds = static_cast<std::uint32_t>(packet.timestamp % second),
            .captured = std::min(packet.pkt_len, snap_length),
            .on_wire = std::max(packet.wire_len, packet.pkt_len)};
}

bool is_same_file(const struct stat& status, const std::string& path) noexcept
{
    struct stat other {};
    return ::stat(path.c_str(), &other) == 0 && other.st_dev == status.st_dev &&
           other.st_ino == status.st_ino;
}

[[noreturn]] void throw_not_created(const std::string& path, int failure)
{
    if (failure != ENOENT && failure != ENOTDIR && failure != EISDIR)
        throw_errno(failure, fmt::format("cannot create the capture \"{}\"", path));
    throw error{errc::system, fmt::format("cannot create the capture \"{}\": {}; name a file in a "
                                          "directory that exists",
                                          path, describe_errno(failure))};
}

std::string absolute_path(const std::string& path)
{
    std::unique_ptr<char, decltype(&std::free)> resolved{::realpath(path.c_str(), nullptr),
                                                         &std::free};
    if (!resolved)
        throw_errno(errno, fmt::format("cannot resolve the path \"{}\"", path));
    return resolved.get();
}

std::uint64_t draw_mark()
{
    std::uint64_t drawn = 0;
    if (::getrandom(&drawn, sizeof drawn, 0) != ssize_t{sizeof drawn})
        throw_errno(errno, "cannot draw a random number");
    return drawn >> 2 | std::uint64_t{1} << 40;  // an offset that locks can have, behind any data
}

/// Takes the lock of one port. False when another port has its own.
bool lock_for_port(int file, std::uint64_t mark) noexcept
{
    struct flock own {};
    own.l_type = F_RDLCK;
    own.l_whence = SEEK_SET;
    own.l_start = static_cast<off_t>(mark);
    own.l_len = 1;
    if (::fcntl(file, F_OFD_SETLK, &own) != 0)
        return true;  // a file system without locks: as it always was
    // Its own first, then a look at the others: of two that come at once, one sees the other.
    for (const bool below : {true, false}) {
        struct flock others {};
        others.l_type = F_WRLCK;
        others.l_whence = SEEK_SET;
        others.l_start = below ? 0 : own.l_start + 1;
        others.l_len = below ? own.l_start : 0;
        if (::fcntl(file, F_OFD_GETLK, &others) == 0 && others.l_type != F_UNLCK)
            return false;
    }
    return true;
}

}  // namespace

capture_file create_capture(const std::string& path, std::uint32_t link_type,
                            std::uint32_t snap_length, const std::string& not_this)
{
    // Emptied only once it is known not to be the input.
    const file_descriptor file{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0)
        throw_not_created(path, errno);
    if (!S_ISREG(status.st_mode))
        throw error{
            errc::invalid_argument,
            fmt::format(
                "cannot write a capture to \"{}\": it has mode {:#o} and is not a regular file; "
                "name another output",
                path, status.st_mode)};
    if (!not_this.empty() && is_same_file(status, not_this))
        throw error{errc::invalid_argument,
                    fmt::format("\"{}\" is both rx and tx of a port; name another output", path)};
    const auto mark = draw_mark();
    if (!lock_for_port(file.get(), mark))
        throw error{errc::in_use, fmt::format("another port is writing to the capture \"{}\"; name "
                                              "another output",
                                              path)};
    const file_header header{.snap_length = snap_length, .link_type = link_type};
    if (::ftruncate(file.get(), 0) != 0 ||
        ::pwrite(file.get(), &header, sizeof header, 0) != ssize_t{sizeof header})
        throw_errno(errno, fmt::format("cannot write the capture \"{}\"", path));
    return {.path = absolute_path(path), .first_offset = sizeof header, .mark = mark};
}

int capture_writer::open(const std::string& path, std::uint64_t end, std::uint64_t mark) noexcept
{
    if (!buffer_)
        buffer_.reset(new (std::nothrow) std::byte[buffer_bytes]);
    if (!buffer_)
        return ENOMEM;
    file_ = file_descriptor{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
    struct stat status {};
    if (!file_ || ::fstat(file_.get(), &status) != 0)
        return errno;
    if (!lock_for_port(file_.get(), mark)) {
        file_ = {};
        return EBUSY;
    }
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size < end)
        return EIO;  // somebody has cut off what was written
    return size == end || ::ftruncate(file_.get(), static_cast<off_t>(end)) == 0 ? 0 : errno;
}

capture_writer::staged capture_writer::stage(std::span<mbuf* const> packets) noexcept
{
    staged burst;
    for (const mbuf* packet : packets) {
        const auto header = header_of(*packet, snap_length_);
        if (burst.file_bytes + sizeof header + header.captured > buffer_bytes)
            break;
        std::byte* at = buffer_.get() + burst.file_bytes;
        std::memcpy(at, &header, sizeof header);
        if (!read(*packet, 0, {at + sizeof header, header.captured}))
            break;  // a chain shorter than it claims: no packet of ours
        burst.file_bytes += sizeof header + header.captured;
        burst.packet_bytes += packet->pkt_len;
        ++burst.packets;
    }
    return burst;
}

int capture_writer::write(const staged& burst, std::uint64_t offset) noexcept
{
    const auto at = static_cast<off_t>(offset);
    const auto written = ::pwrite(file_.get(), buffer_.get(), burst.file_bytes, at);
    if (written == static_cast<ssize_t>(burst.file_bytes))
        return 0;
    const int reason =
        written < 0 ? errno : ENOSPC;  // a file takes less only when there is no room
    // Best effort: what lies beyond `offset` does not count, and is overwritten or cut off later.
    static_cast<void>(::ftruncate(file_.get(), at) == 0);
    return reason;
}

}  // namespace cohort::detail
