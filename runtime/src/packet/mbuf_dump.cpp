#include "cohort/packet/mbuf_dump.hpp"

#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/mbuf_history.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

namespace cohort {
namespace {

using output = std::back_insert_iterator<std::string>;

void dump_bytes(output out, std::span<const std::byte> bytes)
{
    constexpr std::size_t width = 16;
    for (std::size_t at = 0; at < bytes.size(); at += width) {
        fmt::format_to(out, "    {:04x}:", at);
        for (const auto byte : bytes.subspan(at, std::min(width, bytes.size() - at)))
            fmt::format_to(out, " {:02x}", std::to_integer<unsigned>(byte));
        fmt::format_to(out, "\n");
    }
}

void dump_segment(output out, const mbuf& segment)
{
    fmt::format_to(out, "  segment at {}, {} bytes at {} of {}, custody {:#018x}",
                   fmt::ptr(&segment), segment.data_len, segment.data_off, segment.buf_len,
                   segment.custody);
    if (segment.is_clone())
        fmt::format_to(out, ", shows {}", fmt::ptr(&const_cast<mbuf&>(segment).direct()));
    else if (!segment.is_direct())
        fmt::format_to(out, ", shows external memory at {}", fmt::ptr(segment.buf_addr));
    fmt::format_to(out, ", refcnt {}\n", refcnt(segment));
    const auto events = history_of(segment);
    for (const auto& event : events) {
        fmt::format_to(out, "    {} ", name_of(event.what));
        if (event.what >= mbuf_event::user)
            fmt::format_to(out, "{} ",
                           static_cast<unsigned>(event.what) -
                               static_cast<unsigned>(mbuf_event::user));
        fmt::format_to(out, "by member {} on lane {}, {} ticks before the last\n", event.holder,
                       event.lane, events.back().ticks - event.ticks);
    }
}

}  // namespace

std::string dump(const mbuf& packet, std::size_t bytes)
{
    std::string text;
    const output out{text};
    fmt::format_to(
        out, "mbuf at {}: pkt_len {}, nb_segs {}, port {}, ol_flags {:#x}, packet_type {:#x}\n",
        fmt::ptr(&packet), packet.pkt_len, packet.nb_segs, packet.port, packet.ol_flags,
        packet.packet_type);
    if (const char* fault = find_fault(packet, true))
        fmt::format_to(out, "  NOT SOUND: {}\n", fault);
    std::size_t left = packet.nb_segs;
    for (const mbuf* segment = &packet; segment && left != 0; segment = segment->next, --left) {
        dump_segment(out, *segment);
        const auto shown = std::min<std::size_t>(bytes, segment->data_len);
        if (find_fault(*segment, false) == nullptr)
            dump_bytes(out, segment->bytes().first(shown));
        bytes -= shown;
    }
    return text;
}

}  // namespace cohort
