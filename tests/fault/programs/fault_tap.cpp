// The scenario "tap": numbered packets from a ring through the kernel's side of a tap interface
// into a tap port, and through that back into a ring, by one process after the other. On the
// kernel's side is an af_packet port, which loses nothing.

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
constexpr const char* turning = "turning";
constexpr const char* arrived = "arrived";

pktmbuf_pool make_pool(domain& shared, const char* name, const char* ring)
{
    return shared.create_pktmbuf_pool(name, {.count = 128,
                                             .cache_size = 8,
                                             .policy = recovery_policy::redeliver,
                                             .redeliver_to = ring});
}

ring<mbuf*> prepare(domain& shared)
{
    auto waiting = shared.create_ring<mbuf*>(not_sent, 128);
    shared.create_ring<mbuf*>(turning, 128);
    shared.create_ring<mbuf*>(arrived, 128);
    auto pool = make_pool(shared, "outgoing", not_sent);
    make_pool(shared, "at the turn", turning);
    make_pool(shared, "incoming", arrived);
    for (std::uint64_t number = 0; number != all; ++number) {
        auto* packet = pool.alloc_chain(100);
        require(packet != nullptr, "no packet");
        std::array<std::byte, 100> bytes{};
        std::memcpy(bytes.data() + number_at, &number, sizeof number);
        require(write(*packet, 0, bytes) && waiting.enqueue(packet), "no room");
    }
    shared.create_port("tap", "tap:iface=tap", {.rx_pool = "at the turn"});
    shared.create_port("kernel", "af_packet:iface=tap,promiscuous=1", {.rx_pool = "incoming"});
    return waiting;
}

/// How many have come, each whole and once.
std::uint64_t count_each_once(ring<mbuf*>& packets)
{
    std::array<int, all> seen{};
    std::uint64_t count = 0;
    for (mbuf* packet = nullptr; packets.dequeue(packet); free(packet), ++count) {
        std::uint64_t number = all;
        require(packet->pkt_len == 100, "a packet has another length");
        std::memcpy(&number, packet->data<std::byte>(number_at), sizeof number);
        require(number < all && seen[number]++ == 0, "a packet has come twice");
    }
    return count;
}

}  // namespace

void go_through_the_tap(const arguments& given)
{
    const auto domain = join(given);
    auto found = domain->find_ring<mbuf*>(not_sent);
    auto waiting = found ? *found : prepare(*domain);
    auto tap = domain->find_port("tap").value();
    auto kernel = domain->find_port("kernel").value();
    auto turn = domain->find_ring<mbuf*>(turning).value();
    auto there = domain->find_ring<mbuf*>(arrived).value();
    std::array<mbuf*, 8> burst{};
    const auto move = [&](auto take, auto give) {
        const auto count = take(std::span{burst});
        for (std::size_t done = 0; done != count;)
            done += give(std::span{burst}.subspan(done, count - done));
    };
    const auto doubtful = [&] { return tap.rx_stats().missed + tap.tx_stats().errors; };
    const auto step = [&] {
        move([&](auto to) { return waiting.dequeue_burst(to); },
             [&](auto from) { return kernel.tx_burst(0, from); });
        move([&](auto to) { return tap.rx_burst(0, to); },
             [&](auto from) { return turn.enqueue_burst(from); });
        move([&](auto to) { return turn.dequeue_burst(to); },
             [&](auto from) { return tap.tx_burst(0, from); });
        move([&](auto to) { return kernel.rx_burst(0, to); },
             [&](auto from) { return there.enqueue_burst(from); });
    };
    require(test::eventually([&] {
                step();
                return there.count() + doubtful() >= all;
            }),
            "packets are missing that nothing counts");
    require(doubtful() <= 1, "more than one packet is in doubt");
    require(kernel.rx_stats().missed == 0, "the other side has lost some");
    // One that counts as in doubt may have arrived, and then the last one is still on its way.
    static_cast<void>(test::eventually(
        [&] {
            step();
            return there.count() == all;
        },
        doubtful() == 0 ? std::chrono::milliseconds{0} : std::chrono::milliseconds{300}));
    const auto count = count_each_once(there);
    require(count == all || count + doubtful() == all, "the counts are wrong");
}

}  // namespace cohort::fault_member
