// The scenario "interface": numbered packets from a ring over a cable of the kernel into a ring, by
// one process after the other.

#include "fault_member.hpp"
#include "support/eventually.hpp"

#include <array>
#include <cstring>
#include <span>

namespace cohort::fault_member {
namespace {

constexpr std::uint64_t all = 64;
constexpr std::size_t number_at = 14;  // behind what Ethernet has in front
constexpr const char* not_sent = "not sent";
constexpr const char* arrived = "arrived";

ring<mbuf*> prepare(domain& shared)
{
    auto waiting = shared.create_ring<mbuf*>(not_sent, 128);
    shared.create_ring<mbuf*>(arrived, 128);
    auto pool = shared.create_pktmbuf_pool("outgoing", {.count = 128,
                                                        .cache_size = 8,
                                                        .policy = recovery_policy::redeliver,
                                                        .redeliver_to = not_sent});
    shared.create_pktmbuf_pool("incoming", {.count = 128,
                                            .cache_size = 8,
                                            .policy = recovery_policy::redeliver,
                                            .redeliver_to = arrived});
    for (std::uint64_t number = 0; number != all; ++number) {
        auto* packet = pool.alloc_chain(100);
        require(packet != nullptr, "no packet");
        std::array<std::byte, 100> bytes{};
        std::memcpy(bytes.data() + number_at, &number, sizeof number);
        require(write(*packet, 0, bytes) && waiting.enqueue(packet), "no room");
    }
    shared.create_port("near", "af_packet:iface=near");
    shared.create_port("far", "af_packet:iface=far,promiscuous=1", {.rx_pool = "incoming"});
    return waiting;
}

void require_each_once(ring<mbuf*>& packets)
{
    std::array<int, all> seen{};
    for (mbuf* packet = nullptr; packets.dequeue(packet); free(packet)) {
        std::uint64_t number = all;
        require(packet->pkt_len == 100, "a packet has another length");
        std::memcpy(&number, packet->data<std::byte>(number_at), sizeof number);
        require(number < all && seen[number]++ == 0, "a packet has come twice");
    }
}

}  // namespace

void cross_the_cable(const arguments& given)
{
    const auto domain = join(given);
    auto found = domain->find_ring<mbuf*>(not_sent);
    auto waiting = found ? *found : prepare(*domain);
    auto near = domain->find_port("near").value();
    auto far = domain->find_port("far").value();
    auto there = domain->find_ring<mbuf*>(arrived).value();
    std::array<mbuf*, 8> burst{};
    const auto move = [&](auto take, auto give) {
        const auto count = take(std::span{burst});
        for (std::size_t done = 0; done != count;)
            done += give(std::span{burst}.subspan(done, count - done));
    };
    require(test::eventually([&] {
                move([&](auto to) { return waiting.dequeue_burst(to); },
                     [&](auto from) { return near.tx_burst(0, from); });
                move([&](auto to) { return far.rx_burst(0, to); },
                     [&](auto from) { return there.enqueue_burst(from); });
                return there.count() >= all;
            }),
            "packets are missing");
    require(there.count() == all && far.rx_stats().missed == 0, "a packet has come twice");
    require_each_once(there);
}

}  // namespace cohort::fault_member
