// Records what an interface receives into a capture file, each frame with the kernel's time stamp.
// See README.md. The recorder may be killed at any instruction and started again: the file goes on
// where it was, without a gap and with nothing twice.
//
//   nic_to_pcap DOMAIN make SPEC FILE   makes the ports "nic" and "file", and leaves
//   nic_to_pcap DOMAIN record           until SIGTERM
//   nic_to_pcap DOMAIN show             what has been recorded

#include "../commands.hpp"

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include <fmt/format.h>

namespace {

using namespace std::chrono_literals;
using example::arguments;

template <typename Found>
decltype(auto) existing(Found found, std::string_view what)
{
    return example::existing("nic_to_pcap", std::move(found), what);
}

void make(cohort::domain& domain, arguments how)
{
    // What a recorder holds when it is killed waits for the next one.
    domain.create_ring<cohort::mbuf*>("again", 4096);
    domain.create_pktmbuf_pool(
        "frames",
        {.count = 4096, .policy = cohort::recovery_policy::redeliver, .redeliver_to = "again"});
    domain.create_port("nic", how[0], {.rx_pool = "frames"});
    domain.create_port("file", "pcap:tx=" + how[1]);
}

void record(cohort::domain& domain, arguments)
{
    auto nic = existing(domain.find_port("nic"), "port \"nic\"");
    auto file = existing(domain.find_port("file"), "port \"file\"");
    auto again = existing(domain.find_ring<cohort::mbuf*>("again"), "ring \"again\"");
    std::array<cohort::mbuf*, 64> burst{};
    while (!example::stopped()) {
        std::size_t count = again.dequeue_burst(burst);
        if (count == 0)
            count = nic.rx_burst(0, burst);
        for (auto rest = std::span{burst}.first(count); !rest.empty();)
            rest = rest.subspan(file.tx_burst(0, rest));
        if (count == 0)
            std::this_thread::sleep_for(100us);
    }
}

void show(cohort::domain& domain, arguments)
{
    const auto received = existing(domain.find_port("nic"), "port \"nic\"").rx_stats();
    const auto written = existing(domain.find_port("file"), "port \"file\"").tx_stats();
    fmt::print("received {} frames, missed {}\nrecorded {} frames, {} bytes\n", received.packets,
               received.missed, written.packets, written.bytes);
}

constexpr std::array commands{example::command{"make", "SPEC FILE", make},
                              example::command{"record", "", record},
                              example::command{"show", "", show}};

}  // namespace

int main(int argc, char** argv)
{
    return example::run("nic_to_pcap", commands, argc, argv);
}
