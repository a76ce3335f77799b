#pragma once
/// A capture file, written in whole bursts: classic pcap with nanoseconds, or pcapng
/// (draft-ietf-opsawg-pcapng) of one section with one interface.
///
/// A burst is laid out in a buffer and written with one pwrite at an offset that the caller keeps.
/// What lies beyond the caller's offset never counts: it is cut off when a file is opened again and
/// when a write fails.
///
/// One port writes to a file: the processes that have it open hold a lock on the byte `mark` of it
/// (an offset far behind its data, drawn at random when the port is made), and whoever finds a lock
/// on another byte is refused. Handing a queue over needs no unlocking this way.
///
/// *Thread safety*: one thread at a time.
/// *When a process dies here*: its lock goes; a tail beyond the published offset, which the next
/// writer cuts off.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/packet/mbuf.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace cohort::detail {

/// Bytes of a packet that go into the file at most, as tcpdump has it. Longer ones are cut.
inline constexpr std::uint32_t capture_snap_length = 262'144;

enum class capture_format { pcap, pcapng };

struct capture_file {
    std::string path;                ///< absolute
    std::uint64_t first_offset = 0;  ///< of the first record
    std::uint64_t mark = 0;
};

struct capture_shape {
    capture_format format = capture_format::pcap;
    std::uint32_t link_type = 0;
    std::uint32_t snap_length = capture_snap_length;
};

/// Makes the file anew, with its header. Throws `errc::invalid_argument` when it is the same file
/// as `not_this`, `errc::in_use` when another port is writing to it, else what the system says.
[[nodiscard]] capture_file create_capture(const std::string& path, const capture_shape& shape,
                                          const std::string& not_this);

class capture_writer {
public:
    /// Of each packet the first `snap_length` bytes are written, at most capture_snap_length.
    capture_writer(capture_format format, std::uint32_t snap_length)
        : format_{format}
        , snap_length_{snap_length}
    {
    }

    /// Opens a file made by create_capture and cuts off what lies beyond `end`. 0 or an errno;
    /// EBUSY when another port writes to it.
    [[nodiscard]] int open(const std::string& path, std::uint64_t end, std::uint64_t mark) noexcept;

    struct staged {
        std::size_t packets = 0;
        std::uint64_t packet_bytes = 0;
        std::uint64_t file_bytes = 0;
    };
    /// Lays out as many of `packets`, in order, as the buffer has room for: at least one.
    [[nodiscard]] staged stage(std::span<mbuf* const> packets) noexcept;
    /// Writes what was staged, whole or not at all. 0 or an errno.
    [[nodiscard]] int write(const staged& burst, std::uint64_t offset) noexcept;

private:
    capture_format format_;
    std::uint32_t snap_length_;
    file_descriptor file_;
    std::unique_ptr<std::byte[]> buffer_;
};

}  // namespace cohort::detail
