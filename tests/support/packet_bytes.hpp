#pragma once
// What a packet holds, over all its segments.

#include "cohort/packet/mbuf.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

[[nodiscard]] inline std::vector<std::byte> bytes_of(const mbuf& packet)
{
    std::vector<std::byte> bytes(packet.pkt_len);
    REQUIRE(read(packet, 0, bytes));
    return bytes;
}

[[nodiscard]] inline std::string text_of(const mbuf& packet)
{
    std::string text(packet.pkt_len, '\0');
    REQUIRE(read(packet, 0, std::as_writable_bytes(std::span{text})));
    return text;
}

/// A packet that holds `bytes`, in as many segments as it takes.
[[nodiscard]] inline mbuf* packet_of(pktmbuf_pool& pool, std::span<const std::byte> bytes)
{
    auto* packet = pool.alloc_chain(bytes.size());
    REQUIRE(packet != nullptr);
    REQUIRE(write(*packet, 0, bytes));
    return packet;
}
[[nodiscard]] inline mbuf* packet_of(pktmbuf_pool& pool, std::string_view text)
{
    return packet_of(pool, std::as_bytes(std::span{text}));
}

}  // namespace cohort::test
