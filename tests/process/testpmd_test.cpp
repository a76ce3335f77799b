// DPDK's own program of the distribution at the other end: it gets what our ports send, and we get
// what it sends, over a cable and by files.

#include "process/mover_stand.hpp"
#include "process/port_domain.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr const char* testpmd_missing =
    "dpdk-testpmd is not installed, or root and ip to make a network namespace";

bool testpmd_possible()
{
    return scratch_network::possible() &&
           std::system("(command -v dpdk-testpmd && command -v stdbuf) >/dev/null 2>&1") == 0;
}

constexpr const char* testpmd_tap_missing =
    "dpdk-testpmd is not installed, or root, ip and /dev/net/tun";

bool testpmd_tap_possible()
{
    return testpmd_possible() && scratch_network::tap_possible();
}

/// dpdk-testpmd with one port, in a mode of its own: io sends all that it receives out again.
class testpmd {
public:
    struct counts {
        std::uint64_t received = 0;
        std::uint64_t sent = 0;
        std::uint64_t dropped = 0;  ///< could not be sent
    };

    explicit testpmd(const std::string& device, std::string mode = "io")
        : mode_{std::move(mode)}
        , child_{child_process::spawn("/usr/bin/env",
                                      {"stdbuf", "-oL", "dpdk-testpmd", "--no-huge", "-m", "128",
                                       "--no-pci", "--no-shconf", "--no-telemetry", "-l", "0,1",
                                       "--vdev", device, "--", "-i", "--forward-mode=" + mode_,
                                       "--no-flush-rx", "--total-num-mbufs=2048"})}
    {
        child_.await("Done", patience);  // the device is there, and what is made with it
    }
    void start()
    {
        child_.tell("start");
        static_cast<void>(line_with(mode_ + " packet forwarding packets/burst"));
    }
    /// Of the device, while it runs.
    [[nodiscard]] std::uint64_t sent() { return of_device("TX-packets:"); }
    [[nodiscard]] std::uint64_t received() { return of_device("RX-packets:"); }
    [[nodiscard]] std::uint64_t received_bytes() { return of_device("RX-bytes:"); }
    /// It ends, and tells what it has forwarded.
    [[nodiscard]] counts stop()
    {
        child_.tell("stop");
        static_cast<void>(line_with("Forward statistics for port 0"));
        counts all;
        all.received = number_in(line_with("RX-packets:"), "RX-packets:");
        const auto line = line_with("TX-packets:");
        all.sent = number_in(line, "TX-packets:");
        all.dropped = number_in(line, "TX-dropped:");
        child_.tell("quit");
        CHECK(child_.wait(patience) == exit_status{});
        return all;
    }

private:
    [[nodiscard]] std::uint64_t of_device(const std::string& name)
    {
        child_.tell("show port stats 0");
        static_cast<void>(line_with("NIC statistics for port 0"));
        return number_in(line_with(name), name);
    }
    [[nodiscard]] std::string line_with(const std::string& words)
    {
        std::string seen;
        while (const auto line = child_.read_line(patience)) {
            if (line->find(words) != std::string::npos)
                return *line;
            seen += *line + '\n';
        }
        throw std::runtime_error{"dpdk-testpmd does not say \"" + words + "\" but: " + seen};
    }
    [[nodiscard]] static std::uint64_t number_in(const std::string& line, const std::string& name)
    {
        const auto at = line.find(name);
        REQUIRE(at != std::string::npos);
        return std::strtoull(line.c_str() + at + name.size(), nullptr, 10);
    }

    std::string mode_;
    child_process child_;
};

/// On their way at once: fewer than any queue between the two keeps.
constexpr std::size_t most_under_way = 64;

void send_frame(std::size_t number, port_domain& ports, port& to)
{
    auto* packet = packet_of(ports.pool(), frame_of(number));
    while (to.tx_burst(0, {&packet, 1}) != 1)
        std::this_thread::yield();
}

void take_all(port& from, arrivals& arrived)
{
    std::array<mbuf*, 32> burst;
    arrived.take(std::span{burst}.first(from.rx_burst(0, burst)));
}

/// Numbered frames go out of `wire`; `peer`, which is started, gets each and gives each back, once
/// and whole.
void check_all_come_back(port_domain& ports, port& wire, testpmd& peer, std::size_t all)
{
    arrivals arrived{all};
    std::size_t sent = 0;
    CHECK(eventually(
        [&] {
            while (sent != all && sent < arrived.count() + most_under_way)
                send_frame(sent++, ports, wire);
            take_all(wire, arrived);
            return arrived.count() + wire.rx_stats().missed >= all;
        },
        long_patience));
    const auto there = peer.stop();

    CHECK(wire.tx_stats().packets == all);
    CHECK(wire.tx_stats().errors == 0);
    CHECK(there.received == all);
    CHECK(there.sent + there.dropped == all);
    CHECK(arrived.count() + wire.rx_stats().missed == there.sent);
    CHECK(arrived.doubled() == 0);
    CHECK(arrived.damaged() == 0);
}

/// What testpmd's net_tap with a fixed address sends in mode txonly, down to the payload: UDP over
/// IPv4 to the address that it gives a peer it knows nothing of.
std::string head_of_txonly()
{
    using namespace std::string_literals;
    return "\x02\0\0\0\0\0\x02"
           "dtap0\x08\0"
           "\x45\0\0\x32\0\0\0\0\x40\x11\xee\x93\xc6\x12\0\x01\xc6\x12\0\x02"
           "\0\x09\0\x09\0\x1e\0\0"s;
}

}  // namespace

TEST_CASE("dpdk-testpmd at the other end of a cable gets each frame of an af_packet port, and the "
          "port gets each back, once and whole",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(testpmd_possible(), testpmd_missing);
    port_domain ports{1024};
    auto wire = ports.make("af_packet:iface=near,promiscuous=1");
    testpmd peer{"net_af_packet0,iface=far"};
    peer.start();

    check_all_come_back(ports, wire, peer, scaled(5'000, 1'000'000));
}

TEST_CASE("dpdk-testpmd's tap device gets each frame that an af_packet port sends on its "
          "interface, and the port gets each back, once and whole",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(testpmd_tap_possible(), testpmd_tap_missing);
    port_domain ports{1024};
    scratch_network::make_silent_tap("dtap0");
    testpmd peer{"net_tap0,iface=dtap0"};
    auto wire = ports.make("af_packet:iface=dtap0,promiscuous=1");
    peer.start();

    check_all_come_back(ports, wire, peer, scaled(5'000, 1'000'000));
}

TEST_CASE("dpdk-testpmd on the interface of a tap port gets each frame of the port, and the port "
          "gets each back, once and whole",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(testpmd_tap_possible(), testpmd_tap_missing);
    port_domain ports{1024};
    auto wire = ports.make("tap:iface=tap");
    testpmd peer{"net_af_packet0,iface=tap"};
    peer.start();

    check_all_come_back(ports, wire, peer, scaled(5'000, 1'000'000));
}

TEST_CASE("of what dpdk-testpmd generates as fast as it can, an af_packet port gets each frame as "
          "it was made or counts it as missed",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(testpmd_tap_possible(), testpmd_tap_missing);
    const std::size_t all = scaled(20'000, 5'000'000);
    const auto head = head_of_txonly();
    port_domain ports{1024};
    scratch_network::make_silent_tap("dtap0");
    // A write into a tap hands the frame on at once: no queue of the kernel's loses any unseen.
    testpmd peer{"net_tap0,iface=dtap0,mac=fixed", "txonly"};
    auto wire = ports.make("af_packet:iface=dtap0,promiscuous=1");
    std::size_t arrived = 0;
    std::size_t foreign = 0;
    const auto take = [&] {
        std::array<mbuf*, 32> burst;
        const auto got = std::span{burst}.first(wire.rx_burst(0, burst));
        for (const auto* packet : got)
            foreign += packet->pkt_len != 64 || !text_of(*packet).starts_with(head);
        arrived += got.size();
        free_bulk(got);
    };

    peer.start();
    CHECK(eventually(
        [&] {
            take();
            return arrived >= all;
        },
        long_patience));
    const auto there = peer.stop();

    CHECK(there.received == 0);
    CHECK(eventually([&] {
        take();
        return arrived + wire.rx_stats().missed >= there.sent;
    }));
    CHECK(arrived + wire.rx_stats().missed == there.sent);
    CHECK(wire.rx_stats().packets == arrived);
    CHECK(foreign == 0);
    wire.stop();
    CHECK(ports.domain().destroy_port("wire"));
    CHECK(ports.pool().objects().in_use() == 0);
}

TEST_CASE("dpdk-testpmd counts each frame and each byte that an af_packet port sends it, and the "
          "port receives nothing",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(testpmd_possible(), testpmd_missing);
    const std::size_t all = scaled(3'000, 100'000);
    port_domain ports{1024};
    auto wire = ports.make("af_packet:iface=near,promiscuous=1");
    testpmd peer{"net_af_packet0,iface=far", "rxonly"};
    peer.start();

    std::size_t sent = 0;
    std::uint64_t bytes = 0;
    CHECK(eventually(
        [&] {
            const auto received = peer.received();
            for (; sent != all && sent < received + most_under_way; ++sent) {
                send_frame(sent, ports, wire);
                bytes += frame_of(sent).size();
            }
            return received >= all;
        },
        long_patience));
    const auto received_bytes = peer.received_bytes();
    const auto there = peer.stop();

    CHECK(there.received == all);
    CHECK(received_bytes == bytes);
    CHECK(there.sent + there.dropped == 0);
    CHECK(wire.tx_stats().packets == all);
    CHECK(wire.tx_stats().bytes == bytes);
    std::array<mbuf*, 32> burst;
    CHECK(wire.rx_burst(0, burst) == 0);
}

TEST_CASE("dpdk-testpmd reads the file of a pcap port, and a pcap port reads its, with each frame "
          "once and whole",
          "[port][pcap]")
{
    COHORT_SKIP_UNLESS(testpmd_possible(), testpmd_missing);
    const std::size_t all = scaled(2'000, 100'000);
    const scratch_directory files;
    const auto ours = (files.path() / "ours.pcap").string();
    const auto theirs = (files.path() / "theirs.pcap").string();
    port_domain ports{1024};
    auto writer = ports.make("pcap:tx=" + ours, {});
    for (std::size_t number = 0; number != all; ++number) {
        auto* packet = packet_of(ports.pool(), frame_of(number));
        REQUIRE(writer.tx_burst(0, {&packet, 1}) == 1);
    }
    REQUIRE(ports.domain().destroy_port("wire"));

    testpmd peer{"net_pcap0,rx_pcap=" + ours + ",tx_pcap=" + theirs};
    peer.start();
    CHECK(eventually([&] { return peer.sent() >= all; }, long_patience));
    const auto there = peer.stop();
    auto reader = ports.make("pcap:rx=" + theirs);
    arrivals arrived{all};
    CHECK(eventually(
        [&] {
            take_all(reader, arrived);
            return arrived.count() == all;
        },
        long_patience));

    CHECK(there.received == all);
    CHECK(there.sent == all);
    CHECK(arrived.doubled() == 0);
    CHECK(arrived.damaged() == 0);
    CHECK(ports.pool().objects().in_use() == 0);
}

}  // namespace cohort::test
