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
    std::uint32_t snap_length = 0;
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

/// Of pcapng: a section header block and an interface description block.
struct section_header {
    std::uint32_t section_block = 0x0a0d0d0a;
    std::uint32_t section_bytes = 28;
    std::uint32_t byte_order = 0x1a2b3c4d;
    std::uint16_t version_major = 1;
    std::uint16_t version_minor = 0;
    std::uint32_t section_length[2]{0xffff'ffff, 0xffff'ffff};  // not known
    std::uint32_t section_bytes_again = 28;
    std::uint32_t interface_block = 1;
    std::uint32_t interface_bytes = 32;
    std::uint16_t link_type = 0;
    std::uint16_t reserved = 0;
    std::uint32_t snap_length = 0;
    std::uint16_t resolution_option = 9;
    std::uint16_t resolution_bytes = 1;
    std::uint32_t resolution = 9;  // 10^-9 s, in one byte and padding
    std::uint32_t end_of_options = 0;
    std::uint32_t interface_bytes_again = 32;
};
static_assert(sizeof(section_header) == 60);

/// The head of an enhanced packet block. Behind the packet come zeros up to four bytes, and the
/// length of the block once more.
struct packet_block {
    std::uint32_t kind = 6;
    std::uint32_t bytes = 0;
    std::uint32_t interface = 0;
    std::uint32_t time_high = 0;
    std::uint32_t time_low = 0;
    std::uint32_t captured = 0;
    std::uint32_t on_wire = 0;
};
static_assert(sizeof(packet_block) == 28);

/// Room for a usual burst, and for any packet alone: so one write is always enough.
constexpr std::size_t buffer_bytes = 2 * (capture_snap_length + sizeof(packet_block) + 8);

record_header header_of(const mbuf& packet, std::uint32_t captured) noexcept
{
    constexpr std::uint64_t second = 1'000'000'000;
    return {.seconds = static_cast<std::uint32_t>(packet.timestamp / second),
            .nanoseconds = static_cast<std::uint32_t>(packet.timestamp % second),
            .captured = captured,
            .on_wire = std::max(packet.wire_len, packet.pkt_len)};
}

packet_block block_of(const mbuf& packet, std::uint32_t captured, std::uint32_t bytes) noexcept
{
    return {.bytes = bytes,
            .time_high = static_cast<std::uint32_t>(packet.timestamp >> 32),
            .time_low = static_cast<std::uint32_t>(packet.timestamp),
            .captured = captured,
            .on_wire = std::max(packet.wire_len, packet.pkt_len)};
}

template <typename Value>
std::byte* put(std::byte* at, const Value& value) noexcept
{
    std::memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

/// Returns the bytes that were written, 0 when a chain is shorter than it claims.
std::size_t put_record(std::byte* at, const mbuf& packet, std::uint32_t captured) noexcept
{
    at = put(at, header_of(packet, captured));
    return read(packet, 0, {at, captured}) ? sizeof(record_header) + captured : 0;
}

std::size_t put_block(std::byte* at, const mbuf& packet, std::uint32_t captured) noexcept
{
    const auto padding = (4 - captured % 4) % 4;
    const auto bytes = static_cast<std::uint32_t>(sizeof(packet_block) + captured + padding + 4);
    at = put(at, block_of(packet, captured, bytes));
    if (!read(packet, 0, {at, captured}))
        return 0;
    std::memset(at + captured, 0, padding);
    put(at + captured + padding, bytes);
    return bytes;
}

/// Returns the length of the header that the file begins with.
std::size_t write_header(int file, const capture_shape& shape) noexcept
{
    const file_header classic{.snap_length = shape.snap_length, .link_type = shape.link_type};
    const section_header section{.link_type = static_cast<std::uint16_t>(shape.link_type),
                                 .snap_length = shape.snap_length};
    const bool is_classic = shape.format == capture_format::pcap;
    const auto bytes =
        is_classic ? std::as_bytes(std::span{&classic, 1}) : std::as_bytes(std::span{&section, 1});
    return ::ftruncate(file, 0) == 0 && ::pwrite(file, bytes.data(), bytes.size(), 0) ==
                                            static_cast<ssize_t>(bytes.size())
               ? bytes.size()
               : 0;
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

capture_file create_capture(const std::string& path, const capture_shape& shape,
                            const std::string& not_this)
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
    const auto header_bytes = write_header(file.get(), shape);
    if (header_bytes == 0)
        throw_errno(errno, fmt::format("cannot write the capture \"{}\"", path));
    return {.path = absolute_path(path), .first_offset = header_bytes, .mark = mark};
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
    const auto around =
        format_ == capture_format::pcap ? sizeof(record_header) : sizeof(packet_block) + 3 + 4;
    for (const mbuf* packet : packets) {
        const auto captured = std::min(packet->pkt_len, snap_length_);
        if (burst.file_bytes + around + captured > buffer_bytes)
            break;
        std::byte* const at = buffer_.get() + burst.file_bytes;
        const auto bytes = format_ == capture_format::pcap ? put_record(at, *packet, captured)
                                                           : put_block(at, *packet, captured);
        if (bytes == 0)
            break;  // a chain shorter than it claims: no packet of ours
        burst.file_bytes += bytes;
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
