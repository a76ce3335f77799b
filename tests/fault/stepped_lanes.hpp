#pragma once
// A lane ring of packets for the single-step killer. The victim is its first producer.

#include "cohort/domain/lane_rings.hpp"
#include "fault/step_pieces.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

class stepped_lanes {
public:
    static constexpr std::uint32_t of_survivor = 5000;

    explicit stepped_lanes(domain& in)
        : lanes_{create_lane_ring<mbuf*>(in, "lanes", 8, {.producers = 1})}
    {
    }

    /// Before anybody has reaped the victim.
    void proceed(pktmbuf_pool& pool)
    {
        auto* packet = pool.alloc();
        REQUIRE(packet);
        packet->hash.tag = of_survivor;
        REQUIRE(lanes_.enqueue(packet));
    }

    /// A prefix of what the victim sent is there, in its order, and the survivor's packet.
    void check()
    {
        std::vector<std::uint32_t> of_victim;
        std::size_t others = 0;
        for (mbuf* packet = nullptr; lanes_.dequeue(packet); free(packet))
            if (packet->hash.tag == of_survivor)
                ++others;
            else
                of_victim.push_back(packet->hash.tag);
        REQUIRE(others == 1);
        REQUIRE(of_victim.size() <= stepped_batch);
        for (std::size_t i = 0; i != of_victim.size(); ++i)
            REQUIRE(of_victim[i] == first_value_of_victim + i);
        for (const auto& each : lanes_.rings())
            REQUIRE(find_fault(each.layout()) == nullptr);
    }

private:
    lane_ring<mbuf*> lanes_;
};

}  // namespace cohort::test
