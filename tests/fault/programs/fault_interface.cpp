// The scenario "interface": numbered packets from a ring over a cable of the kernel into a ring, by
// one process after the other.

#include "fault_numbered.hpp"
#include "support/eventually.hpp"
#include "support/kernel_says.hpp"

namespace cohort::fault_member {
namespace {

void prepare_cable(domain& shared)
{
    prepare_way(shared);
    shared.create_port("near", "af_packet:iface=near");
    shared.create_port("far", "af_packet:iface=far,promiscuous=1", {.rx_pool = "incoming"});
}

bool receives_all_groups(const char* interface)
{
    return test::kernel_says(interface, "allmulti") == 1;
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
    // Of somebody who was killed at one of these, too.
    const auto is_truth = [&] { return !far.link().all_multicast || receives_all_groups("far"); };
    require(is_truth(), "the port tells what it does not receive");
    for (const bool on : {true, false, true}) {
        far.set_all_multicast(on);
        require(far.link().all_multicast == on && receives_all_groups("far") == on,
                "the port tells and receives what it was told");
    }
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
