// The scenario "xdp": numbered packets from a ring through an af_packet port and a cable into an
// AF_XDP socket, and back the same way into a ring, by one process after the other. Which of them
// comes to the end destroys the ports.

#include "fault_numbered.hpp"
#include "support/eventually.hpp"

namespace cohort::fault_member {
namespace {

constexpr const char* not_sent = "not sent";
constexpr const char* turning = "turning";
constexpr const char* arrived = "arrived";

ring<mbuf*> prepare(domain& shared)
{
    auto waiting = shared.create_ring<mbuf*>(not_sent, 128);
    shared.create_ring<mbuf*>(turning, 256);
    shared.create_ring<mbuf*>(arrived, 128);
    auto pool = make_redelivered(shared, "outgoing", not_sent);
    shared.create_pktmbuf_pool("at the turn", {.count = 256,
                                               .cache_size = 8,
                                               .policy = recovery_policy::redeliver,
                                               .redeliver_to = turning});
    make_redelivered(shared, "incoming", arrived);
    send_all(pool, waiting);
    shared.create_port("kernel", "af_packet:iface=far,promiscuous=1", {.rx_pool = "incoming"});
    shared.create_port("wire", "af_xdp:iface=near",
                       {.rx_pool = "at the turn", .rx_descriptors = 64});
    return waiting;
}

/// Until all have come back.
void turn_round(domain& shared, port& wire, ring<mbuf*>& waiting, ring<mbuf*>& there)
{
    auto kernel = shared.find_port("kernel").value();
    auto turn = shared.find_ring<mbuf*>(turning).value();
    wire.start();
    static_cast<void>(wire.rx_burst(0, {}));  // from here on nothing goes by
    const auto step = [&] {
        move([&](auto to) { return waiting.dequeue_burst(to); },
             [&](auto from) { return kernel.tx_burst(0, from); });
        move([&](auto to) { return wire.rx_burst(0, to); },
             [&](auto from) { return turn.enqueue_burst(from); });
        move([&](auto to) { return turn.dequeue_burst(to); },
             [&](auto from) { return wire.tx_burst(0, from); });
        move([&](auto to) { return kernel.rx_burst(0, to); },
             [&](auto from) { return there.enqueue_burst(from); });
    };
    require(test::eventually([&] {
                step();
                return there.count() >= all_packets;
            }),
            "packets are missing");
    require(wire.find_fault() == nullptr, "the port is not sound");
    require(wire.rx_stats().missed == 0, "the socket has lost some");
    require(kernel.rx_stats().missed == 0, "the other side has lost some");
}

}  // namespace

void go_through_the_socket(const arguments& given)
{
    const auto domain = join(given);
    auto found = domain->find_ring<mbuf*>(not_sent);
    auto waiting = found ? *found : prepare(*domain);
    auto there = domain->find_ring<mbuf*>(arrived).value();
    if (auto wire = domain->find_port("wire")) {
        turn_round(*domain, *wire, waiting, there);
        domain->destroy_port("wire");
    }
    require(count_each_once(there) == all_packets, "the count is wrong");
}

}  // namespace cohort::fault_member
