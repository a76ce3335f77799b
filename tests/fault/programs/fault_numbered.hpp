#pragma once
// Numbered packets on their way from ring to port to ring, by one process after the other.

#include "fault_member.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cohort::fault_member {

inline constexpr std::uint64_t all_packets = 64;
inline constexpr std::size_t number_at = 14;  // behind what Ethernet has in front

/// What is left of them comes back through `ring` when a process dies.
inline pktmbuf_pool make_redelivered(domain& shared, const char* name, const char* ring)
{
    return shared.create_pktmbuf_pool(name, {.count = 128,
                                             .cache_size = 8,
                                             .policy = recovery_policy::redeliver,
                                             .redeliver_to = ring});
}

inline void send_all(pktmbuf_pool& from, ring<mbuf*>& waiting)
{
    for (std::uint64_t number = 0; number != all_packets; ++number) {
        auto* packet = from.alloc_chain(100);
        require(packet != nullptr, "no packet");
        std::array<std::byte, 100> bytes{};
        std::memcpy(bytes.data() + number_at, &number, sizeof number);
        require(write(*packet, 0, bytes) && waiting.enqueue(packet), "no room");
    }
}

/// How many have come, each whole and once.
inline std::uint64_t count_each_once(ring<mbuf*>& packets)
{
    std::array<int, all_packets> seen{};
    std::uint64_t count = 0;
    for (mbuf* packet = nullptr; packets.dequeue(packet); free(packet), ++count) {
        std::uint64_t number = all_packets;
        require(packet->pkt_len == 100, "a packet has another length");
        std::memcpy(&number, packet->data<std::byte>(number_at), sizeof number);
        require(number < all_packets && seen[number]++ == 0, "a packet has come twice");
    }
    return count;
}

/// A burst from here to there, whole.
inline void move(auto take, auto give)
{
    std::array<mbuf*, 8> burst{};
    const std::size_t count = take(std::span{burst});
    for (std::size_t done = 0; done != count;)
        done += give(std::span<mbuf* const>{burst}.subspan(done, count - done));
}

}  // namespace cohort::fault_member
