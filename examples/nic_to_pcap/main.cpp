// Records what an interface receives into a capture file, each frame with the kernel's time stamp.
// See README.md. The recorder may be killed at any instruction and started again: the file goes on
// where it was, without a gap and with nothing twice.
//
//   nic_to_pcap DOMAIN make SPEC FILE   makes the ports "nic" and "file", and leaves
//   nic_to_pcap DOMAIN record           until SIGTERM
//   nic_to_pcap DOMAIN show             what has been recorded

#include "cohort/base/error.hpp"
#include "cohort/secondary/secondary.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace {

using namespace std::chrono_literals;
using arguments = std::span<const std::string>;

std::atomic<bool> stop{false};

template <typename Found>
auto existing(Found found, std::string_view what)
{
    if (!found)
        throw cohort::error{cohort::errc::not_found,
                            fmt::format("there is no {}; call nic_to_pcap make first", what)};
    return std::move(*found);
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
    while (!stop.load(std::memory_order_relaxed)) {  // a flag, orders nothing
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

struct command {
    std::string_view name;
    std::size_t words;
    void (*run)(cohort::domain&, arguments);
};
constexpr std::array commands{command{"make", 2, make}, command{"record", 0, record},
                              command{"show", 0, show}};

}  // namespace

int main(int argc, char** argv)
{
    const std::vector<std::string> words(argv + 1, argv + argc);
    const auto* chosen = std::ranges::find_if(commands, [&](const command& each) {
        return words.size() == each.words + 2 && words[1] == each.name;
    });
    if (chosen == commands.end()) {
        fmt::print(stderr, "Usage: nic_to_pcap DOMAIN make SPEC FILE\n"
                           "       nic_to_pcap DOMAIN record\n"
                           "       nic_to_pcap DOMAIN show\n");
        return 2;
    }
    std::signal(SIGTERM, [](int) { stop = true; });
    std::signal(SIGINT, [](int) { stop = true; });
    try {
        const auto domain = cohort::secondary::attach(words[0], 10s, words[1]);
        chosen->run(*domain, std::span{words}.subspan(2));
        return 0;
    } catch (const cohort::error& failure) {
        fmt::print(stderr, "nic_to_pcap: {}\n", failure.what());
        return failure.exit_code();
    }
}
