// The scenario "xdp": numbered packets from a ring through an af_packet port and a cable into an
// AF_XDP socket, and back the same way into a ring, by one process after the other. Which of them
// comes to the end destroys the ports.

#include "fault_numbered.hpp"
#include "support/eventually.hpp"

namespace cohort::fault_member {
namespace {

void prepare_xdp(domain& shared)
{
    prepare_way(shared, 256);
    shared.create_port("kernel", "af_packet:iface=far,promiscuous=1", {.rx_pool = "incoming"});
    shared.create_port("wire", "af_xdp:iface=near",
                       {.rx_pool = "at the turn", .rx_descriptors = 64});
}

/// Until all have come back.
void turn_round(way_round& way)
{
    auto& wire = way.at_turn();
    wire.start();
    static_cast<void>(wire.rx_burst(0, {}));  // from here on nothing goes by
    require(test::eventually([&] {
                way.step();
                return way.there().count() >= all_packets;
            }),
            "packets are missing");
    require(wire.find_fault() == nullptr, "the port is not sound");
    require(wire.rx_stats().missed == 0, "the socket has lost some");
    require(way.kernel().rx_stats().missed == 0, "the other side has lost some");
}

}  // namespace

void go_through_the_socket(const arguments& given)
{
    const auto domain = join(given);
    if (!domain->find_ring<mbuf*>(not_sent))
        prepare_xdp(*domain);
    if (auto wire = domain->find_port("wire")) {
        way_round way{*domain, std::move(*wire)};
        turn_round(way);
        domain->destroy_port("wire");
    }
    auto there = domain->find_ring<mbuf*>(arrived).value();
    require(count_each_once(there) == all_packets, "the count is wrong");
}

}  // namespace cohort::fault_member
