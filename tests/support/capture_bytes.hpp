#pragma once

// Capture files built byte by byte, independent of the code under test.
//
//     const auto file = capture_bytes::pcap({.nanoseconds = false}).record(time_ns, "payload");

#include "cohort/packet/parse.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace cohort::test {

struct capture_format {
    bool nanoseconds = true;
    bool big_endian = false;
    link_type link = link_type::ethernet;
};

class capture_bytes {
public:
    [[nodiscard]] static capture_bytes pcap(const capture_format& format = {})
    {
        capture_bytes made{format};
        made.put32(format.nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4);
        made.put16(2).put16(4).put32(0).put32(0).put32(262'144);
        made.put32(static_cast<std::uint32_t>(format.link));
        return made;
    }
    [[nodiscard]] static capture_bytes pcapng()
    {
        capture_bytes made{{}};
        capture_bytes body{{}};
        body.put32(0x1a2b3c4d).put16(1).put16(0).put32(0xffffffff).put32(0xffffffff);
        return made.block(0x0a0d0d0a, body);
    }
    [[nodiscard]] static capture_bytes text(std::string_view bytes)
    {
        capture_bytes made{{}};
        made.text_ = bytes;
        return made;
    }

    /// A record of a pcap file. `wire_length` 0 = all of it was captured.
    capture_bytes& record(std::uint64_t time_ns, std::string_view payload,
                          std::uint32_t wire_length = 0)
    {
        const auto captured = static_cast<std::uint32_t>(payload.size());
        const auto fraction = time_ns % 1'000'000'000 / (format_.nanoseconds ? 1 : 1000);
        put32(static_cast<std::uint32_t>(time_ns / 1'000'000'000));
        put32(static_cast<std::uint32_t>(fraction));
        put32(captured).put32(std::max(captured, wire_length));
        text_ += payload;
        return *this;
    }

    /// A pcapng interface with nanoseconds.
    capture_bytes& interface(link_type link)
    {
        capture_bytes body{{}};
        body.put16(static_cast<std::uint16_t>(link)).put16(0).put32(262'144);
        body.put16(9).put16(1).put32(9);  // time resolution 10^-9, padded
        body.put32(0);                    // end of options
        return block(1, body);
    }
    /// A pcapng packet.
    capture_bytes& enhanced(std::uint32_t interface_id, std::uint64_t time_ns,
                            std::string_view payload)
    {
        const auto captured = static_cast<std::uint32_t>(payload.size());
        capture_bytes body{{}};
        body.put32(interface_id).put32(static_cast<std::uint32_t>(time_ns >> 32));
        body.put32(static_cast<std::uint32_t>(time_ns)).put32(captured).put32(captured);
        body.text_ += payload;
        body.text_.resize((body.text_.size() + 3) / 4 * 4);
        return block(6, body);
    }

    /// Takes bytes off the end.
    void cut(std::size_t bytes) { text_.resize(text_.size() - bytes); }
    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    explicit capture_bytes(const capture_format& format) : format_{format} {}

    template <typename Number>
    capture_bytes& put(Number value)
    {
        std::array<char, sizeof value> bytes;
        std::memcpy(bytes.data(), &value, sizeof value);
        if (format_.big_endian)
            std::reverse(bytes.begin(), bytes.end());
        text_.append(bytes.data(), bytes.size());
        return *this;
    }
    capture_bytes& put16(std::uint16_t value) { return put(value); }
    capture_bytes& put32(std::uint32_t value) { return put(value); }

    capture_bytes& block(std::uint32_t kind, const capture_bytes& body)
    {
        const auto length = static_cast<std::uint32_t>(body.text_.size() + 12);
        put32(kind).put32(length);
        text_ += body.text_;
        return put32(length);
    }

    capture_format format_;
    std::string text_;
};

}  // namespace cohort::test
