#pragma once
/// What passes a port, as it lies in the region for whoever captures it: a ring of bytes for each
/// queue, in an entry of its own that has the port's name and goes with the port.
///
///   capture_layout | bytes of stream 0, 1 ...: rx queue 0, 1 ..., then tx queue 0, 1 ...
///
///   record   bytes:32 | captured:32 | length:32 | 0:32 | time:64 | 0:64, then what was captured
///
/// A record does not lie across the end of its stream: one with `captured` = filler ends it first.
///
/// Invariants: tail <= head <= tail + capture_stream_bytes; both are where a record begins.
///
///   head   the lane that owns the queue   release (RECORDED), after the record's bytes
///   tail   who captures                   release (READ), after it has read them
///
/// *When a process dies here*: what lies behind head is written anew by the queue's next owner.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/packet/mbuf.hpp"
#include "cohort/port/port_layout.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cohort {

inline constexpr std::size_t capture_stream_bytes = std::size_t{1} << 20;
inline constexpr std::uint32_t max_capture_length = 65'535;  ///< bytes kept of a packet at most

/// Where in its stream a position is.
[[nodiscard]] constexpr std::size_t capture_place(std::uint64_t position) noexcept
{
    return position & (capture_stream_bytes - 1);
}

struct capture_record {
    static constexpr std::uint32_t filler = 0xffff'ffff;

    std::uint32_t bytes;     ///< header included; a multiple of 32
    std::uint32_t captured;  ///< bytes that follow
    std::uint32_t length;    ///< of the packet on the wire
    std::uint32_t reserved;
    std::uint64_t time_ns;  ///< since 1970
    std::uint64_t reserved2;
};
static_assert(shared_layout<capture_record> && sizeof(capture_record) == 32);

struct alignas(cache_line_bytes) capture_stream {
    std::atomic<std::uint64_t> head{0};
    std::atomic<std::uint64_t> dropped{0};  ///< packets without room; one writer, the owner
    alignas(cache_line_bytes) std::atomic<std::uint64_t> tail{0};
};
static_assert(shared_layout<capture_stream> && sizeof(capture_stream) == 2 * cache_line_bytes);

struct alignas(cache_line_bytes) capture_layout {
    static constexpr std::uint32_t magic_value = 0x54504143;  // "CAPT"

    std::uint32_t magic = 0;
    std::uint32_t streams = 0;
    std::atomic<std::uint32_t> snap_length{0};  ///< bytes kept of each packet
    capture_stream stream[2 * max_port_queues];

    [[nodiscard]] std::byte* bytes_of(std::size_t index) noexcept
    {
        return reinterpret_cast<std::byte*>(this + 1) + index * capture_stream_bytes;
    }
    [[nodiscard]] const std::byte* bytes_of(std::size_t index) const noexcept
    {
        return reinterpret_cast<const std::byte*>(this + 1) + index * capture_stream_bytes;
    }
};
static_assert(shared_layout<capture_layout>);

[[nodiscard]] inline std::size_t capture_bytes(const port_layout& port) noexcept
{
    return sizeof(capture_layout) +
           (std::size_t{port.rx_queues} + port.tx_queues) * capture_stream_bytes;
}

/// The writer's end of a stream, for the lane that owns the queue.
class capture_writer {
public:
    capture_writer(capture_layout& layout, std::size_t stream) noexcept;

    /// Copies packets behind head as long as there is room: nobody sees them yet. At most
    /// snap_length bytes of each, no system call, no wait.
    void write(std::span<mbuf* const> packets) noexcept;
    /// Publishes the first `count` of the packets written; those of them that found no room are
    /// counted as dropped.
    void commit(std::size_t count) noexcept;

private:
    [[nodiscard]] std::byte* room_for(std::size_t bytes) noexcept;

    capture_stream& stream_;
    std::byte* bytes_;
    std::uint32_t snap_length_;
    std::uint64_t begin_;
    std::uint64_t end_;
    std::size_t written_ = 0;
};

/// Whether that can be a record where so many bytes are recorded and so many follow to the end.
[[nodiscard]] bool is_sound(const capture_record& record, std::uint64_t recorded,
                            std::size_t room) noexcept;
/// nullptr when the invariants of a stream hold, else the one that does not, in words. May be asked
/// while others work.
[[nodiscard]] const char* find_fault(const capture_layout& capture, std::size_t index) noexcept;

}  // namespace cohort
