// The scenario "pcap": numbered packets from a ring over a cable into a pcap port, and through that
// back into a ring, by one process after the other. On the far side is an af_packet port, which
// loses nothing. What lay in the capture of a killed process is lost, and nothing counts it.

#include "fault_numbered.hpp"
#include "support/eventually.hpp"

namespace cohort::fault_member {
namespace {

constexpr std::size_t most_at_once = 24;  // in the capture of a process that is killed

void prepare_pcap(domain& shared)
{
    prepare_way(shared, 128);
    shared.create_port("pcap", "pcap:iface=near", {.rx_pool = "at the turn"});
    shared.create_port("kernel", "af_packet:iface=far,promiscuous=1", {.rx_pool = "incoming"});
}

}  // namespace

void go_through_libpcap(const arguments& given)
{
    const auto domain = join(given);
    const bool is_first = !domain->find_ring<mbuf*>(not_sent);
    if (is_first)
        prepare_pcap(*domain);
    way_round way{*domain, domain->find_port("pcap").value()};
    auto& there = way.there();
    static_cast<void>(way.at_turn().rx_burst(0, {}));  // the capture begins
    for (std::size_t before = 0;; before = there.count())
        if (!test::eventually(
                [&] {
                    way.step();
                    return there.count() == all_packets || there.count() > before;
                },
                std::chrono::milliseconds{300}) ||
            there.count() == all_packets)
            break;
    const auto count = count_each_once(there);
    require(count == all_packets || (!is_first && count + most_at_once >= all_packets),
            "packets are missing");
    require(way.at_turn().tx_stats().errors <= 1, "more than one packet is in doubt");
    require(way.kernel().rx_stats().missed == 0, "the other side has lost some");
}

}  // namespace cohort::fault_member
