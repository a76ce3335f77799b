// One stage of an endless flow of numbered packets, to be killed at any time.
// Usage: flow_member ROLE      ROLE: primary, source, worker or sink
//
//   source -> "to_work" -> worker ... -> "to_sink" -> sink
// The primary makes (or adopts) the domain and works like a worker besides, so that it holds
// packets when it is killed.

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <array>
#include <string>
#include <thread>

#include <unistd.h>

namespace {

using namespace cohort;

constexpr std::size_t burst = 32;
using packets = std::array<mbuf*, burst>;

/// Work that takes a while, so that a stage mostly holds packets.
void touch(std::span<mbuf*> some)
{
    for (auto* packet : some)
        for (auto& byte : packet->bytes())
            byte ^= std::byte{0x5a};
}

/// Passes everything on, whatever time that takes; a killed process just stops here.
void pass(ring<mbuf*>& to, std::span<mbuf* const> some)
{
    while (!some.empty()) {
        const auto done = to.enqueue_burst(some);
        some = some.subspan(done);
        if (done == 0)
            std::this_thread::yield();
    }
}

void run_source(domain& with)
{
    auto pool = with.find_pktmbuf_pool("flow").value();
    auto to_work = with.find_ring<mbuf*>("to_work").value();
    for (packets some{};;) {
        if (!pool.alloc_bulk(some)) {
            std::this_thread::yield();
            continue;
        }
        for (auto*& packet : some)
            if (packet->append(200).empty())  // a chain now and then
                std::abort();
        if (auto* longer = pool.alloc_chain(5000)) {
            free(some[0]);
            some[0] = longer;
        }
        touch(some);
        pass(to_work, some);
    }
}

void run_worker(domain& with)
{
    auto to_work = with.find_ring<mbuf*>("to_work").value();
    auto to_sink = with.find_ring<mbuf*>("to_sink").value();
    for (packets some{};;) {
        const auto got = std::span{some}.first(to_work.dequeue_burst(some));
        if (got.empty())
            std::this_thread::yield();
        touch(got);
        pass(to_sink, got);
    }
}

void run_sink(domain& with)
{
    auto to_sink = with.find_ring<mbuf*>("to_sink").value();
    auto arrived = with.find_memzone("arrived");
    std::atomic_ref total{*reinterpret_cast<std::uint64_t*>(arrived.data())};
    for (packets some{};;) {
        const auto got = std::span{some}.first(to_sink.dequeue_burst(some));
        if (got.empty())
            std::this_thread::yield();
        touch(got);
        free_bulk(got);
        total.fetch_add(got.size(), std::memory_order_relaxed);  // a count
    }
}

void run_primary()
{
    const auto owner = primary::start(
        {.name = "storm", .member_name = "primary", .memory = 32_MiB, .huge = huge_policy::none});
    if (!owner->adopted()) {
        owner->reserve_memzone("arrived", 64);
        owner->create_pktmbuf_pool("flow", {.count = 4096, .cache_size = 64});
        owner->create_ring<mbuf*>("to_work", 512);
        owner->create_ring<mbuf*>("to_sink", 512);
    }
    test::say("ready");
    run_worker(*owner);
}

}  // namespace

int main(int argc, char** argv)
{
    const std::string role = argc == 2 ? argv[1] : "";
    try {
        if (role == "primary") {
            run_primary();
            return 0;
        }
        const auto member = secondary::attach("storm", 10s, role);
        test::say("ready");
        if (role == "source")
            run_source(*member);
        else if (role == "sink")
            run_sink(*member);
        else
            run_worker(*member);
    } catch (const error& refused) {
        test::say(std::string{"failed: "} + refused.what());
        return refused.exit_code();
    }
}
