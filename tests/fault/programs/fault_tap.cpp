// The scenario "tap": numbered packets from a ring through the kernel's side of a tap interface
// into a tap port, and through that back into a ring, by one process after the other. On the
// kernel's side is an af_packet port, which loses nothing.

#include "fault_numbered.hpp"
#include "support/eventually.hpp"

namespace cohort::fault_member {
namespace {

void prepare_tap(domain& shared, const std::string& options)
{
    prepare_way(shared, 128);
    shared.create_port("tap", "tap:iface=tap" + options, {.rx_pool = "at the turn"});
    shared.create_port("kernel", "af_packet:iface=tap,promiscuous=1", {.rx_pool = "incoming"});
}

}  // namespace

void go_through_the_tap(const arguments& given)
{
    const auto domain = join(given);
    if (!domain->find_ring<mbuf*>(not_sent))
        prepare_tap(*domain, given.at(2));
    way_round way{*domain, domain->find_port("tap").value()};
    auto& tap = way.at_turn();
    auto& there = way.there();
    const auto doubtful = [&] { return tap.rx_stats().missed + tap.tx_stats().errors; };
    require(test::eventually([&] {
                way.step();
                return there.count() + doubtful() >= all_packets;
            }),
            "packets are missing that nothing counts");
    require(doubtful() <= 1, "more than one packet is in doubt");
    require(way.kernel().rx_stats().missed == 0, "the other side has lost some");
    // One that counts as in doubt may have arrived, and then the last one is still on its way.
    static_cast<void>(test::eventually(
        [&] {
            way.step();
            return there.count() == all_packets;
        },
        doubtful() == 0 ? std::chrono::milliseconds{0} : std::chrono::milliseconds{300}));
    const auto count = count_each_once(there);
    require(count == all_packets || count + doubtful() == all_packets, "the counts are wrong");
}

}  // namespace cohort::fault_member
