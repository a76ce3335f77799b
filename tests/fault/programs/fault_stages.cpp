// A worker of a stage dies with a batch, and another takes it over in parts.

#include "fault_member.hpp"
#include "support/conversation.hpp"
#include "support/eventually.hpp"
#include "support/lost_thread.hpp"

#include <cstdint>
#include <vector>

namespace cohort::fault_member {

namespace {

constexpr std::uint32_t staged_packets = 6;

}  // namespace

void pass_stages(const arguments& given)
{
    const auto shared = join(given);
    auto pool = shared->find_pktmbuf_pool("plain").value();
    auto ring = shared->create_staged_ring<mbuf*>("stages", 8, {.stages = 1});
    for (std::uint32_t number = 0; number != staged_packets; ++number) {
        auto* packet = pool.alloc();
        require(packet != nullptr, "the pool is empty");
        packet->hash.tag = number;
        require(ring.enqueue(packet), "the ring is full");
    }
    test::say("ready");
    static_cast<void>(test::hear());
    std::vector<stage_grant<mbuf*>> lost;
    test::run_and_lose([&] { lost.push_back(ring.acquire_bulk(0, 5)); });
    require(test::eventually([&] {
                ring.acquire_burst(0, 2).release();
                const auto counts = ring.counts(0);
                return counts.waiting + counts.held + counts.abandoned == 0;
            }),
            "the stage does not end");
    std::uint32_t next = 0;
    drain_stages(*shared, next);
    require(next == staged_packets, "packets are missing");
}

void drain_stages(domain& shared, std::uint32_t& next)
{
    auto ring = shared.find_staged_ring<mbuf*>("stages");
    if (!ring)
        return;
    while (ring->acquire_burst(0, 8).release()) {}
    for (mbuf* packet = nullptr; ring->dequeue(packet); free(packet))
        require(packet->hash.tag == next++, "a packet of the stages is out of order, or lost");
}

}  // namespace cohort::fault_member
