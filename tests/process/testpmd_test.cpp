// DPDK's own program of the distribution at the other end: it gets what our ports send, and we get
// what it sends, over a cable and by files.

#include "process/mover_stand.hpp"
#include "process/port_domain.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"

#include <array>
#include <cstdlib>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr const char* testpmd_missing =
    "dpdk-testpmd is not installed, or root and ip to make a network namespace";

bool testpmd_possible()
{
    return scratch_network::possible() &&
           std::system("command -v dpdk-testpmd stdbuf >/dev/null 2>&1") == 0;
}

/// dpdk-testpmd with one port, which sends all that it receives out again (mode io).
class testpmd {
public:
    struct counts {
        std::uint64_t received = 0;
        std::uint64_t sent = 0;
        std::uint64_t dropped = 0;  ///< could not be sent
    };

    explicit testpmd(const std::string& device)
        : child_{child_process::spawn("/usr/bin/env",
                                      {"stdbuf", "-oL", "dpdk-testpmd", "--no-huge", "-m", "128",
                                       "--no-pci", "--no-shconf", "--no-telemetry", "-l", "0,1",
                                       "--vdev", device, "--", "-i", "--forward-mode=io",
                                       "--no-flush-rx", "--total-num-mbufs=2048"})}
    {
        child_.tell("start");
        static_cast<void>(line_with("io packet forwarding packets/burst"));
    }
    /// Of the device, while it runs.
    [[nodiscard]] std::uint64_t sent()
    {
        child_.tell("show port stats 0");
        return number_in(line_with("TX-packets:"), "TX-packets:");
    }
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

    child_process child_;
};

void take_all(port& from, arrivals& arrived)
{
    std::array<mbuf*, 32> burst;
    arrived.take(std::span{burst}.first(from.rx_burst(0, burst)));
}

}  // namespace

TEST_CASE("dpdk-testpmd at the other end of a cable gets each frame of an af_packet port, and the "
          "port gets each back, once and whole",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(testpmd_possible(), testpmd_missing);
    constexpr std::size_t most_at_once = 64;
    const std::size_t all = scaled(5'000, 1'000'000);
    port_domain ports{1024};
    auto wire = ports.make("af_packet:iface=near,promiscuous=1");
    testpmd peer{"net_af_packet0,iface=far"};
    arrivals arrived{all};

    std::size_t sent = 0;
    CHECK(eventually(
        [&] {
            while (sent != all && sent < arrived.count() + most_at_once) {
                auto* packet = packet_of(ports.pool(), frame_of(sent));
                while (wire.tx_burst(0, {&packet, 1}) != 1)
                    std::this_thread::yield();
                ++sent;
            }
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
