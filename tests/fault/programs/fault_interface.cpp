// The scenario "interface": numbered packets from a ring over a cable of the kernel into a ring, by
// one process after the other.

#include "fault_numbered.hpp"
#include "support/eventually.hpp"

namespace cohort::fault_member {
namespace {

constexpr const char* not_sent = "not sent";
constexpr const char* arrived = "arrived";

ring<mbuf*> prepare(domain& shared)
{
    auto waiting = shared.create_ring<mbuf*>(not_sent, 128);
    shared.create_ring<mbuf*>(arrived, 128);
    auto pool = make_redelivered(shared, "outgoing", not_sent);
    make_redelivered(shared, "incoming", arrived);
    send_all(pool, waiting);
    shared.create_port("near", "af_packet:iface=near");
    shared.create_port("far", "af_packet:iface=far,promiscuous=1", {.rx_pool = "incoming"});
    return waiting;
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
    require(test::eventually([&] {
                move([&](auto to) { return waiting.dequeue_burst(to); },
                     [&](auto from) { return near.tx_burst(0, from); });
                move([&](auto to) { return far.rx_burst(0, to); },
                     [&](auto from) { return there.enqueue_burst(from); });
                return there.count() >= all_packets;
            }),
            "packets are missing");
    require(far.rx_stats().missed == 0 && count_each_once(there) == all_packets,
            "a packet has come twice");
}

}  // namespace cohort::fault_member
