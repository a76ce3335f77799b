// Spreads the packets of one port over several worker processes, by flow, and sends what they have
// done to another port. See README.md. As in DPDK's packet distributor, both directions of a flow
// meet in one worker; unlike there, each process may come, go or be killed by itself.
//
//   load_balancer DOMAIN make IN OUT WORKERS   makes ports, rings and counters, and leaves
//   load_balancer DOMAIN rx                    from the port "in" to the workers
//   load_balancer DOMAIN work NUMBER           lowers the TTL, as a router does
//   load_balancer DOMAIN tx                    from the workers to the port "out"
//   load_balancer DOMAIN show                  what each has counted

#include "../commands.hpp"
#include "cohort/packet/parse.hpp"
#include "cohort/packet/ttl.hpp"
#include "cohort/ring/ring_offer.hpp"

#include <array>
#include <atomic>
#include <charconv>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace {

using namespace std::chrono_literals;
using example::arguments;
using packet_ring = cohort::ring<cohort::mbuf*>;

constexpr unsigned most_workers = 16;
constexpr auto ethernet = cohort::link_type::ethernet;
constexpr std::uint8_t router = 1;  // the stage whose note says that the TTL was lowered

/// In the region, so that they outlive whoever counts. A number has one writer at a time.
struct balance {
    std::uint32_t workers = 0;
    std::array<std::atomic<std::uint64_t>, most_workers> packets{};      ///< done by each worker
    std::array<std::atomic<std::uint64_t>, most_workers> redelivered{};  ///< of these, of the dead
};

template <typename Found>
decltype(auto) existing(Found found, std::string_view what)
{
    return example::existing("load_balancer", std::move(found), what);
}

packet_ring find_ring(cohort::domain& domain, const std::string& name)
{
    return existing(domain.find_ring<cohort::mbuf*>(name), fmt::format("ring \"{}\"", name));
}

cohort::port find_port(cohort::domain& domain, const std::string& name)
{
    return existing(domain.find_port(name), fmt::format("port \"{}\"", name));
}

balance& find_balance(cohort::domain& domain)
{
    return existing(domain.find<balance>("balance"), "object \"balance\"");
}

std::string ring_of(unsigned worker)
{
    return fmt::format("worker {}", worker);
}

unsigned number(const std::string& text, unsigned least, unsigned most)
{
    unsigned value = 0;
    const auto* end = text.data() + text.size();
    if (std::from_chars(text.data(), end, value).ptr != end || value < least || value > most)
        throw cohort::error{
            cohort::errc::invalid_argument,
            fmt::format("the number of workers, or of one, is from {} to {}, not {}", least, most,
                        text)};
    return value;
}

void make(cohort::domain& domain, arguments how)
{
    const auto workers = number(how[2], 1, most_workers);
    domain.create<balance>("balance").workers = workers;
    // What a worker holds when it is killed goes to the others.
    domain.create_ring<cohort::mbuf*>("again", 4096);
    domain.create_pktmbuf_pool(
        "packets",
        {.count = 8192, .policy = cohort::recovery_policy::redeliver, .redeliver_to = "again"});
    // A worker that is late for a second loses packets, and delays the others no longer.
    const cohort::ring_options patient{.when_full = cohort::full_policy::block,
                                       .full_patience_us = 1'000'000};
    domain.create_ring<cohort::mbuf*>("done", 1024, patient);
    for (unsigned worker = 0; worker != workers; ++worker)
        domain.create_ring<cohort::mbuf*>(ring_of(worker), 256, patient);
    domain.create_port("in", how[0], {.rx_pool = "packets"});
    domain.create_port("out", how[1]);
}

void put(packet_ring& ring, std::span<cohort::mbuf* const> packets)
{
    cohort::offer(ring, packets, [](auto dropped) { cohort::free_bulk(dropped); });
}

/// Gives the processor away for a moment when there was nothing to do.
void rest_if(bool idle)
{
    if (idle)
        std::this_thread::sleep_for(50us);
}

void distribute(cohort::domain& domain, arguments)
{
    auto in = find_port(domain, "in");
    std::vector<packet_ring> rings;
    for (unsigned worker = 0; worker != find_balance(domain).workers; ++worker)
        rings.push_back(find_ring(domain, ring_of(worker)));
    std::vector<std::vector<cohort::mbuf*>> shares(rings.size());
    std::array<cohort::mbuf*, 32> burst{};
    // A file ends, an interface does not.
    while (!example::stopped() && !in.rx_ended(0)) {
        const auto packets = std::span{burst}.first(in.rx_burst(0, burst));
        for (auto* packet : packets) {
            const auto bytes = packet->bytes();
            const auto hash = cohort::flow_hash(cohort::parse(ethernet, bytes), bytes);
            shares[hash % shares.size()].push_back(packet);
        }
        for (std::size_t worker = 0; worker != rings.size(); ++worker) {
            put(rings[worker], shares[worker]);
            shares[worker].clear();
        }
        rest_if(packets.empty());
    }
}

void work(cohort::domain& domain, arguments how)
{
    auto& counts = find_balance(domain);
    const auto self = number(how[0], 0, counts.workers - 1);
    auto done = find_ring(domain, "done");
    auto own = find_ring(domain, ring_of(self));
    auto again = find_ring(domain, "again");
    const auto take = [&](packet_ring& from, std::atomic<std::uint64_t>* also) {
        std::array<cohort::mbuf*, 32> burst{};
        const auto packets = std::span{burst}.first(from.dequeue_burst(burst));
        for (auto* packet : packets) {
            const auto bytes = packet->bytes();
            // Once, whoever was killed over it before: the packet carries a note.
            cohort::lower_ttl_once(packet->redo, cohort::parse(ethernet, bytes), bytes, router);
        }
        put(done, packets);
        counts.packets[self] += packets.size();
        if (also)
            *also += packets.size();
        return packets.size();
    };
    while (!example::stopped())
        rest_if(take(own, nullptr) + take(again, &counts.redelivered[self]) == 0);
}

void send(cohort::domain& domain, arguments)
{
    auto out = find_port(domain, "out");
    auto done = find_ring(domain, "done");
    std::array<cohort::mbuf*, 32> burst{};
    while (!example::stopped()) {
        const auto packets = std::span{burst}.first(done.dequeue_burst(burst));
        for (std::size_t sent = 0; sent != packets.size();)
            sent += out.tx_burst(0, packets.subspan(sent));
        rest_if(packets.empty());
    }
}

void show(cohort::domain& domain, arguments)
{
    const auto& counts = find_balance(domain);
    fmt::print("in        {:>8} packets\n", find_port(domain, "in").rx_stats(0).packets);
    for (unsigned worker = 0; worker != counts.workers; ++worker)
        fmt::print("worker {:<2} {:>8} packets, {} of them of the dead; {} dropped before it\n",
                   worker, counts.packets[worker].load(), counts.redelivered[worker].load(),
                   find_ring(domain, ring_of(worker)).layout().producer.dropped.load());
    fmt::print("out       {:>8} packets\n", find_port(domain, "out").tx_stats(0).packets);
}

constexpr std::array commands{example::command{"make", "IN OUT WORKERS", make},
                              example::command{"rx", "", distribute},
                              example::command{"work", "NUMBER", work},
                              example::command{"tx", "", send}, example::command{"show", "", show}};

}  // namespace

int main(int argc, char** argv)
{
    return example::run("load_balancer", commands, argc, argv);
}
