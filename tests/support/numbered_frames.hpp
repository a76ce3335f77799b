#pragma once
// Ethernet frames with a number in each, and who counts which of them have come.

#include "cohort/packet/mbuf.hpp"
#include "cohort/ring/ring.hpp"
#include "support/packet_bytes.hpp"
#include "support/scratch_network.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

/// Ethernet addresses, a type of nobody's, the number, and bytes that follow from it.
inline std::string frame_of(std::uint64_t number)
{
    std::string frame = "\x02....a\x02....b\x88\xb5";
    frame.append(reinterpret_cast<const char*>(&number), sizeof number);
    frame.resize(60 + number % 1'400, static_cast<char>(number * 7));
    return frame;
}

/// The same as UDP over IPv4, whose port follows from the number: of 64 flows.
inline std::string flow_frame_of(std::uint64_t number)
{
    using namespace std::string_literals;
    std::string frame = "\x02....a\x02....b\x08\x00"s;
    frame += "\x45\x00\x00\x48\x00\x00\x40\x00\x40\x11..\x0a\x4d\x00\x05\x0a\x4d\x00\x06"s;
    frame += "\x10"s + static_cast<char>(number % 64) + "\x20\x00\x00\x34\x00\x00"s;
    frame.append(reinterpret_cast<const char*>(&number), sizeof number);
    frame.resize(86, static_cast<char>(number * 7));
    return frame;
}

/// How frames are made, and where the number is.
struct frame_kind {
    std::string (*make)(std::uint64_t);
    std::size_t number_at;
};
inline constexpr frame_kind plain_frames{frame_of, 14};
inline constexpr frame_kind flow_frames{flow_frame_of, 42};

/// Which numbers have come, each whole and once.
class arrivals {
public:
    explicit arrivals(std::size_t expected, frame_kind kind = plain_frames)
        : kind_{kind}
        , seen_(expected)
    {
    }

    void note(const std::string& frame)
    {
        std::uint64_t number = 0;
        REQUIRE(frame.size() >= kind_.number_at + sizeof number);
        std::memcpy(&number, frame.data() + kind_.number_at, sizeof number);
        REQUIRE(number < seen_.size());
        damaged_ += frame != kind_.make(number);
        doubled_ += seen_[number];
        seen_[number] = true;
        ++count_;
    }
    /// Notes packets, and frees them.
    void take(std::span<mbuf* const> packets)
    {
        for (auto* packet : packets) {
            note(text_of(*packet));
            free(packet);
        }
    }
    /// Notes all that has come there.
    void take(const raw_station& there)
    {
        for (auto frame = there.receive(); !frame.empty(); frame = there.receive())
            note(frame);
    }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t doubled() const noexcept { return doubled_; }
    [[nodiscard]] std::size_t damaged() const noexcept { return damaged_; }

private:
    frame_kind kind_;
    std::vector<bool> seen_;
    std::size_t count_ = 0;
    std::size_t doubled_ = 0;
    std::size_t damaged_ = 0;
};

/// False when there is no buffer.
inline bool enqueue_frame(pktmbuf_pool& from, ring<mbuf*>& to, const std::string& frame)
{
    auto* packet = from.alloc_chain(frame.size());
    if (!packet)
        return false;
    REQUIRE(write(*packet, 0, std::as_bytes(std::span{frame})));
    REQUIRE(to.enqueue(packet));
    return true;
}

}  // namespace cohort::test
