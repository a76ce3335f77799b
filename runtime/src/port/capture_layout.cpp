#include "cohort/port/capture_layout.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/copy_bytes.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/port/port_driver.hpp"

#include <algorithm>
#include <new>

namespace cohort {
namespace {

constexpr std::uint64_t rounded_up(std::uint64_t bytes) noexcept
{
    return (bytes + sizeof(capture_record) - 1) & ~std::uint64_t{sizeof(capture_record) - 1};
}

/// The first `length` bytes of a chain.
void copy_chain(std::byte* to, const mbuf& packet, std::uint32_t length) noexcept
{
    for (const auto* segment = &packet; segment && length != 0; segment = segment->next) {
        const auto part = std::min<std::uint32_t>(length, segment->data_len);
        copy_bytes(to, segment->bytes().data(), part);
        to += part;
        length -= part;
    }
}

}  // namespace

capture_writer::capture_writer(capture_layout& layout, std::size_t stream) noexcept
    : stream_{layout.stream[stream]}
    , bytes_{layout.bytes_of(stream)}
    , snap_length_{layout.snap_length.load(std::memory_order_relaxed)}  // any of its values will do
    , begin_{stream_.head.load(std::memory_order_relaxed)}              // the owner's own
    , end_{begin_}
{
}

/// nullptr when there is none.
std::byte* capture_writer::room_for(std::size_t bytes) noexcept
{
    const auto tail = stream_.tail.load(std::memory_order_acquire);  // READ
    const auto rest = capture_stream_bytes - capture_place(end_);
    const auto skipped = bytes <= rest ? 0 : rest;
    if (end_ + skipped + bytes - tail > capture_stream_bytes)
        return nullptr;
    if (skipped != 0)
        ::new (bytes_ + capture_place(end_))
            capture_record{.bytes = static_cast<std::uint32_t>(skipped),
                           .captured = capture_record::filler,
                           .length = 0,
                           .reserved = 0,
                           .time_ns = 0,
                           .reserved2 = 0};
    end_ += skipped;
    auto* place = bytes_ + capture_place(end_);
    end_ += bytes;
    return place;
}

void capture_writer::write(std::span<mbuf* const> packets) noexcept
{
    const auto now = wall_clock_ns();
    for (const auto* packet : packets) {
        const auto captured = std::min({packet->pkt_len, snap_length_, max_capture_length});
        const auto bytes = rounded_up(sizeof(capture_record) + captured);
        auto* place = room_for(bytes);
        if (!place)
            return;
        ::new (place) capture_record{.bytes = static_cast<std::uint32_t>(bytes),
                                     .captured = captured,
                                     .length = std::max(packet->wire_len, packet->pkt_len),
                                     .reserved = 0,
                                     .time_ns = now,
                                     .reserved2 = 0};
        copy_chain(place + sizeof(capture_record), *packet, captured);
        ++written_;
    }
    COHORT_FAULT_POINT("port.recorded");
}

void capture_writer::commit(std::size_t count) noexcept
{
    const auto published = std::min(count, written_);
    auto position = begin_;
    for (std::size_t done = 0; done != published;) {
        const auto* record =
            reinterpret_cast<const capture_record*>(bytes_ + capture_place(position));
        position += record->bytes;
        if (record->captured != capture_record::filler)
            ++done;
    }
    if (count != published)
        count_up(stream_.dropped, count - published);
    stream_.head.store(position, std::memory_order_release);  // RECORDED
}

bool is_sound(const capture_record& record, std::uint64_t recorded, std::size_t room) noexcept
{
    return record.bytes >= sizeof(capture_record) && record.bytes % sizeof(capture_record) == 0 &&
           record.bytes <= recorded && record.bytes <= room &&
           (record.captured == capture_record::filler ||
            record.captured <= record.bytes - sizeof(capture_record));
}

const char* find_fault(const capture_layout& capture, std::size_t index) noexcept
{
    const auto& stream = capture.stream[index];
    const auto tail = stream.tail.load(std::memory_order_acquire);
    const auto head = stream.head.load(std::memory_order_acquire);  // RECORDED
    const char* fault = head - tail > capture_stream_bytes
                            ? "a stream of it holds more than it has room for"
                            : nullptr;
    for (auto at = tail; !fault && at != head;) {
        const auto place = capture_place(at);
        const auto& record =
            *reinterpret_cast<const capture_record*>(capture.bytes_of(index) + place);
        if (!is_sound(record, head - at, capture_stream_bytes - place))
            fault = "a record of it is not one";
        at += record.bytes;
    }
    // What has been read meanwhile may be written over.
    return stream.tail.load(std::memory_order_acquire) == tail ? fault : nullptr;
}

}  // namespace cohort
