// Forwards packets between two ports, by as many processes as there are queues and directions. See
// README.md. As in DPDK's l2fwd, what cannot be sent at once is dropped and counted; unlike there,
// each process may come, go or be killed by itself.
//
//   l2fwd DOMAIN make SPEC SPEC           makes the ports "left" and "right", and leaves
//   l2fwd DOMAIN forward FROM TO QUEUE    from one port to the other, until SIGTERM
//   l2fwd DOMAIN show                     what the ports have counted

#include "../commands.hpp"

#include <array>
#include <charconv>
#include <span>
#include <string>
#include <thread>

#include <fmt/format.h>

namespace {

using namespace std::chrono_literals;
using example::arguments;

void make_ports(cohort::domain& domain, arguments specs)
{
    // What a process holds when it is killed goes back to the pool.
    domain.create_pktmbuf_pool("packets", {.count = 8192});
    domain.create_port("left", specs[0], {.rx_pool = "packets"});
    domain.create_port("right", specs[1], {.rx_pool = "packets"});
}

cohort::port find(cohort::domain& domain, const std::string& name)
{
    return example::existing("l2fwd", domain.find_port(name), fmt::format("port \"{}\"", name));
}

std::uint16_t queue_number(const std::string& text)
{
    std::uint16_t queue = 0;
    const auto* end = text.data() + text.size();
    if (std::from_chars(text.data(), end, queue).ptr != end || queue >= cohort::max_port_queues)
        throw cohort::error{cohort::errc::invalid_argument,
                            fmt::format("the queue must be a number from 0 to {}, not {}",
                                        cohort::max_port_queues - 1, text)};
    return queue;
}

/// A queue that another process has is silent here until that process ends; then it is ours.
void forward(cohort::domain& domain, arguments how)
{
    auto from = find(domain, how[0]);
    auto to = find(domain, how[1]);
    const auto queue = queue_number(how[2]);
    std::array<cohort::mbuf*, 32> burst{};
    std::uint64_t forwarded = 0;
    std::uint64_t dropped = 0;
    while (!example::stopped()) {
        const auto packets = std::span{burst}.first(from.rx_burst(queue, burst));
        if (packets.empty()) {
            std::this_thread::sleep_for(50us);
            continue;
        }
        const auto sent = to.tx_burst(queue, packets);
        cohort::free_bulk(packets.subspan(sent));
        forwarded += sent;
        dropped += packets.size() - sent;
    }
    fmt::print("{} to {}, queue {}: {} forwarded, {} dropped\n", how[0], how[1], queue, forwarded,
               dropped);
}

void show(cohort::domain& domain, arguments)
{
    fmt::print("{:<6} {:>5} {:>10} {:>10} {:>8} {:>8}\n", "port", "queue", "rx", "tx", "missed",
               "errors");
    for (const std::string name : {"left", "right"}) {
        const auto port = find(domain, name);
        for (std::uint16_t queue = 0; queue != port.rx_queues(); ++queue) {
            const auto rx = port.rx_stats(queue);
            const auto tx = port.tx_stats(queue);
            fmt::print("{:<6} {:>5} {:>10} {:>10} {:>8} {:>8}\n", name, queue, rx.packets,
                       tx.packets, rx.missed, rx.errors + tx.errors);
        }
    }
}

constexpr std::array commands{example::command{"make", "SPEC SPEC", make_ports},
                              example::command{"forward", "FROM TO QUEUE", forward},
                              example::command{"show", "", show}};

}  // namespace

int main(int argc, char** argv)
{
    return example::run("l2fwd", commands, argc, argv);
}
