#pragma once
// Numbered packets on their way from ring to port to ring, by one process after the other.

#include "fault_member.hpp"
#include "support/redelivered.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace cohort::fault_member {

inline constexpr std::uint64_t all_packets = 64;
inline constexpr std::size_t number_at = 14;  // behind what Ethernet has in front

inline constexpr const char* not_sent = "not sent";
inline constexpr const char* turning = "turning";
inline constexpr const char* arrived = "arrived";

/// A ring, and a pool of as many buffers. What a dead process had of these comes back through it.
inline pktmbuf_pool make_redelivered(domain& shared, const char* pool, const char* ring,
                                     std::uint32_t count)
{
    shared.create_ring<mbuf*>(ring, count);
    return shared.create_pktmbuf_pool(pool, test::redelivered_to(ring, count));
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

/// The way from "not sent" to "arrived" without its ports, and all packets at its beginning. Who
/// receives takes buffers from "incoming", and in the middle of the way from "at the turn", of
/// which there are so many, if any.
inline void prepare_way(domain& shared, std::uint32_t at_turn = 0)
{
    auto pool = make_redelivered(shared, "outgoing", not_sent, 128);
    if (at_turn != 0)
        make_redelivered(shared, "at the turn", turning, at_turn);
    make_redelivered(shared, "incoming", arrived, 128);
    auto waiting = shared.find_ring<mbuf*>(not_sent).value();
    send_all(pool, waiting);
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

/// A burst from here to there, whole; given even when it is empty: who takes over a queue with
/// nothing to send sends what the dead had left there.
inline void move(auto take, auto give)
{
    std::array<mbuf*, 8> burst{};
    const std::size_t count = take(std::span{burst});
    std::size_t done = 0;
    do {
        done += give(std::span<mbuf* const>{burst}.subspan(done, count - done));
    } while (done != count);
}

inline void send(ring<mbuf*>& from, port& to)
{
    move([&](auto burst) { return from.dequeue_burst(burst); },
         [&](auto burst) { return to.tx_burst(0, burst); });
}

inline void receive(port& from, ring<mbuf*>& to)
{
    move([&](auto burst) { return from.rx_burst(0, burst); },
         [&](auto burst) { return to.enqueue_burst(burst); });
}

/// The way through the port of the kernel into the port at the turn, and back the same way.
class way_round {
public:
    way_round(domain& shared, port at_turn)
        : at_turn_{std::move(at_turn)}
        , kernel_{shared.find_port("kernel").value()}
        , waiting_{shared.find_ring<mbuf*>(not_sent).value()}
        , turning_{shared.find_ring<mbuf*>(turning).value()}
        , there_{shared.find_ring<mbuf*>(arrived).value()}
    {
    }
    /// A burst further at each place.
    void step()
    {
        send(waiting_, kernel_);
        receive(at_turn_, turning_);
        send(turning_, at_turn_);
        receive(kernel_, there_);
    }
    [[nodiscard]] port& at_turn() noexcept { return at_turn_; }
    [[nodiscard]] port& kernel() noexcept { return kernel_; }
    [[nodiscard]] ring<mbuf*>& there() noexcept { return there_; }

private:
    port at_turn_;
    port kernel_;
    ring<mbuf*> waiting_;
    ring<mbuf*> turning_;
    ring<mbuf*> there_;
};

}  // namespace cohort::fault_member
