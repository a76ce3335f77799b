#include "ring_watch.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/packet/mbuf_custody.hpp"
#include "cohort/ring/ring.hpp"

#include <algorithm>
#include <atomic>

#include <fmt/format.h>

namespace cohort::tool {
namespace {

const ring_layout& packets_of(const memzone_layout& zone)
{
    const auto& ring = *static_cast<const ring_layout*>(zone.data());
    if (ring.custody_offset == mbuf_custody_offset && ring.published == publication::by_slot)
        return ring;
    throw error{errc::invalid_argument,
                fmt::format("ring \"{}\" cannot be captured: {}; name a ring of mbufs",
                            zone.name.view(),
                            ring.custody_offset == mbuf_custody_offset
                                ? "it is a stack or has stages"
                                : fmt::format("it carries values of {} bytes, not packets",
                                              ring.element_bytes))};
}

}  // namespace

ring_watch::ring_watch(const memory_layout& memory, const memzone_layout& zone,
                       std::uint32_t snap_length)
    : memory_{memory}
    , zone_{zone}
    , made_as_{zone.word()}
    , ring_{packets_of(zone)}
    , snap_length_{std::min(snap_length, max_capture_length)}
    , position_{ring_.consumer.load().position}
{
}

bool ring_watch::is_there() const noexcept
{
    return zone_.word().pack() == made_as_.pack();
}

bool ring_watch::is_readable(const void* bytes, std::size_t count) const noexcept
{
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes);
    bool inside = false;
    for_each_used(memory_, [&](const memzone_layout& zone) {
        const auto base = reinterpret_cast<std::uintptr_t>(zone.data());
        inside = inside || (zone.is_live() && !zone.is_external() && begin >= base &&
                            begin - base <= zone.length && count <= zone.length - (begin - base));
    });
    return inside;
}

bool ring_watch::copy(const mbuf& packet)
{
    if (!is_readable(&packet, sizeof packet))
        return false;
    length_ = packet.wire_len != 0 ? packet.wire_len : packet.pkt_len;
    bytes_.clear();
    auto left = std::min(packet.pkt_len, snap_length_);
    for (const auto* segment = &packet; left != 0; segment = segment->next) {
        if (!segment || !is_readable(segment, sizeof *segment))
            return false;
        const auto data = segment->bytes();
        const auto part = std::min<std::size_t>(left, data.size());
        if (part == 0 || !is_readable(data.data(), part))
            return false;
        bytes_.insert(bytes_.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(part));
        left -= static_cast<std::uint32_t>(part);
    }
    return true;
}

std::optional<captured_packet> ring_watch::next()
{
    while (is_there()) {
        const auto taken = ring_.consumer.load().position;
        if (const auto ahead = static_cast<std::int32_t>(taken - position_); ahead > 0) {
            missed_ += static_cast<std::uint32_t>(ahead);
            position_ = taken;
        }
        if (!is_published(ring_, position_))
            return std::nullopt;
        const auto* packet = reinterpret_cast<const mbuf*>(peek_word(ring_, position_));
        const bool whole = copy(*packet);
        std::atomic_thread_fence(std::memory_order_acquire);  // the copy comes before the look
        const auto now = ring_.consumer.load().position;
        if (static_cast<std::int32_t>(now - position_) > 0)
            continue;
        ++position_;
        if (whole)
            return captured_packet{.bytes = bytes_,
                                   .length = length_,
                                   .time_ns = wall_clock_ns(),
                                   .direction = port_direction::rx,
                                   .queue = 0};
        ++missed_;
    }
    return std::nullopt;
}

}  // namespace cohort::tool
