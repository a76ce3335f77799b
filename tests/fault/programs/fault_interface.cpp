// The scenario "interface": numbered packets from a ring over a cable of the kernel into a ring, by
// one process after the other.

#include "fault_numbered.hpp"
#include "support/eventually.hpp"

namespace cohort::fault_member {
namespace {

void prepare_cable(domain& shared)
{
    prepare_way(shared);
    shared.create_port("near", "af_packet:iface=near");
    shared.create_port("far", "af_packet:iface=far,promiscuous=1", {.rx_pool = "incoming"});
}

}  // namespace

void cross_the_cable(const arguments& given)
{
    const auto domain = join(given);
    if (!domain->find_ring<mbuf*>(not_sent))
        prepare_cable(*domain);
    auto waiting = domain->find_ring<mbuf*>(not_sent).value();
    auto near = domain->find_port("near").value();
    auto far = domain->find_port("far").value();
    auto there = domain->find_ring<mbuf*>(arrived).value();
    far.set_all_multicast(false);
    far.set_all_multicast(true);
    require(far.link().all_multicast, "the port tells what it receives");
    require(test::eventually([&] {
                send(waiting, near);
                receive(far, there);
                return there.count() >= all_packets;
            }),
            "packets are missing");
    require(far.rx_stats().missed == 0 && count_each_once(there) == all_packets,
            "a packet has come twice");
}

}  // namespace cohort::fault_member
