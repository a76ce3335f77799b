#include "cohort/port/port_capture.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/member/membership.hpp"
#include "cohort/port/port_host.hpp"

#include <string>
#include <utility>

#include <fmt/format.h>

namespace cohort {

void end_capture(port_layout& port, lane_id lane) noexcept
{
    if (port.capturer.holder() != lane)
        return;
    // Whoever takes over from the dead meanwhile looks at the word each time, and sets it again.
    port.capture.store(0, std::memory_order_relaxed);  // the lock orders
    port.capturer.release_of(lane);
}

port_capture::port_capture(port_layout& port, std::string_view name)
    : port_{&port}
    , lane_{lane_required(membership_of(&port))}
{
    const auto& self = membership_of(&port);
    const auto ask = [&](lane_id lane) { return self.liveness().is_dead(lane); };
    if (port.capturer.lock(lane_, deadline{}, ask) == lock_result::stalled)
        throw error{
            errc::in_use,
            fmt::format("port \"{}\" is captured by lane {} already; end that capture first "
                        "(\"cohort lanes\" names it)",
                        name, port.capturer.holder())};
}

void port_capture::begin(capture_layout& capture, std::uint32_t zone_index,
                         std::uint32_t snap_length)
{
    capture_ = &capture;
    word_ = zone_index + 1;
    capture.snap_length.store(snap_length, std::memory_order_relaxed);  // published by the word
    for (std::uint32_t i = 0; i != capture.streams; ++i) {
        auto& stream = capture.stream[i];
        stream.tail.store(stream.head.load(std::memory_order_acquire), std::memory_order_release);
    }
    dropped_before_ = dropped_now();
    port_->capture.store(word_, std::memory_order_release);  // CAPTURED
}

port_capture::port_capture(port_capture&& other) noexcept
    : port_{std::exchange(other.port_, nullptr)}
    , lane_{other.lane_}
    , capture_{other.capture_}
    , word_{other.word_}
    , dropped_before_{other.dropped_before_}
    , dropped_at_end_{other.dropped_at_end_}
    , last_{other.last_}
    , last_bytes_{std::exchange(other.last_bytes_, 0)}
{
}

port_capture::~port_capture()
{
    if (port_)
        let_go();
}

void port_capture::let_go() noexcept
{
    dropped_at_end_ = dropped();
    last_bytes_ = 0;
    auto& port = *std::exchange(port_, nullptr);
    end_capture(port, lane_);
}

std::uint64_t port_capture::dropped_now() const noexcept
{
    std::uint64_t all = 0;
    for (std::uint32_t i = 0; capture_ && i != capture_->streams; ++i)
        all += capture_->stream[i].dropped.load(std::memory_order_relaxed);  // a count
    return all;
}

std::uint64_t port_capture::dropped() const noexcept
{
    return port_ ? dropped_now() - dropped_before_ : dropped_at_end_;
}

void port_capture::free_last() noexcept
{
    auto& tail = capture_->stream[last_].tail;
    tail.store(tail.load(std::memory_order_relaxed) + last_bytes_,  // its one writer
               std::memory_order_release);                          // READ
    last_bytes_ = 0;
}

/// The first record of a stream, behind fillers; nullptr when it has none.
const capture_record* port_capture::record_at(std::size_t index)
{
    auto& stream = capture_->stream[index];
    for (;;) {
        const auto tail = stream.tail.load(std::memory_order_relaxed);  // its one writer
        const auto head = stream.head.load(std::memory_order_acquire);  // RECORDED
        if (tail == head)
            return nullptr;
        const auto place = capture_place(tail);
        const auto& record =
            *reinterpret_cast<const capture_record*>(capture_->bytes_of(index) + place);
        if (!is_sound(record, head - tail, capture_stream_bytes - place))
            throw error{
                errc::bad_input,
                fmt::format("stream {} of the capture is damaged at byte {}: a record of {} "
                            "bytes cannot be there; destroy the port and make it anew",
                            index, place, record.bytes)};
        if (record.captured != capture_record::filler)
            return &record;
        last_ = index;
        last_bytes_ = record.bytes;
        free_last();
    }
}

std::optional<captured_packet> port_capture::next()
{
    if (!port_)
        return std::nullopt;
    if (last_bytes_ != 0)
        free_last();
    const auto phase = port_phase::unpack(port_->phase.load(std::memory_order_acquire));
    if (phase.state == port_state::closing || port_->capturer.holder() != lane_) {
        let_go();
        return std::nullopt;
    }
    if (port_->capture.load(std::memory_order_relaxed) == 0)  // the reaper of the one before
        port_->capture.store(word_, std::memory_order_release);
    const capture_record* first = nullptr;
    std::size_t stream = 0;
    for (std::uint32_t i = 0; i != capture_->streams; ++i)
        if (const auto* record = record_at(i);
            record && (!first || record->time_ns < first->time_ns)) {
            first = record;
            stream = i;
        }
    if (!first)
        return std::nullopt;
    last_ = stream;
    last_bytes_ = first->bytes;
    const bool is_rx = stream < port_->rx_queues;
    return captured_packet{
        .bytes = {reinterpret_cast<const std::byte*>(first + 1), first->captured},
        .length = first->length,
        .time_ns = first->time_ns,
        .direction = is_rx ? port_direction::rx : port_direction::tx,
        .queue = static_cast<std::uint16_t>(is_rx ? stream : stream - port_->rx_queues)};
}

}  // namespace cohort
