// The scenario "tap": numbered packets from a ring through the kernel's side of a tap interface
// into a tap port, and through that back into a ring, by one process after the other. On the
// kernel's side is an af_packet port, which loses nothing.

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
    shared.create_ring<mbuf*>(turning, 128);
    shared.create_ring<mbuf*>(arrived, 128);
    auto pool = make_redelivered(shared, "outgoing", not_sent);
    make_redelivered(shared, "at the turn", turning);
    make_redelivered(shared, "incoming", arrived);
    send_all(pool, waiting);
    shared.create_port("tap", "tap:iface=tap", {.rx_pool = "at the turn"});
    shared.create_port("kernel", "af_packet:iface=tap,promiscuous=1", {.rx_pool = "incoming"});
    return waiting;
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
                return there.count() + doubtful() >= all_packets;
            }),
            "packets are missing that nothing counts");
    require(doubtful() <= 1, "more than one packet is in doubt");
    require(kernel.rx_stats().missed == 0, "the other side has lost some");
    // One that counts as in doubt may have arrived, and then the last one is still on its way.
    static_cast<void>(test::eventually(
        [&] {
            step();
            return there.count() == all_packets;
        },
        doubtful() == 0 ? std::chrono::milliseconds{0} : std::chrono::milliseconds{300}));
    const auto count = count_each_once(there);
    require(count == all_packets || count + doubtful() == all_packets, "the counts are wrong");
}

}  // namespace cohort::fault_member
