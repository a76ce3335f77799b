#pragma once
// A ring of packets in a stage for the single-step killer: what is killed in it comes out in order,
// and once.

#include "cohort/domain/domain.hpp"
#include "fault/step_pieces.hpp"
#include "support/eventually.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

class stepped_stages {
public:
    static constexpr std::uint32_t capacity = 8;
    static constexpr std::uint32_t of_victim = 1000;
    static constexpr std::uint32_t of_survivor = 5000;

    explicit stepped_stages(domain& in)
        : ring_{in.create_staged_ring<mbuf*>("stages", capacity, {.stages = 1})}
    {
    }

    /// The first half has passed the stage.
    void fill(pktmbuf_pool& pool, std::uint32_t filled, std::uint32_t position)
    {
        filled_ = filled;
        seen_.clear();
        rewind(ring_.layout(), position);
        for (std::uint32_t i = 0; i != filled; ++i)
            REQUIRE(enqueue(pool, i));
        if (filled > 1)
            REQUIRE(ring_.acquire_bulk(0, filled / 2).release());
    }

    /// All ends, before anybody has reaped the victim.
    void proceed(pktmbuf_pool& pool)
    {
        take();
        ring_.acquire_burst(0, 1).release();
        if (!enqueue(pool, of_survivor))
            REQUIRE(eventually([&] {  // behind what the victim held
                ring_.acquire_burst(0, capacity).release();
                return take() && enqueue(pool, of_survivor);
            }));
    }

    /// After the reaping.
    void check(bool in_order)
    {
        while (auto batch = ring_.acquire_burst(0, 2))
            REQUIRE(batch.release());
        const auto counts = ring_.counts(0);
        REQUIRE(counts.waiting + counts.held + counts.abandoned + counts.done == 0);
        while (take()) {}
        REQUIRE(ring_.empty());
        REQUIRE(find_fault(ring_.layout()) == nullptr);
        if (!in_order)
            return;
        REQUIRE(std::is_sorted(seen_.begin(), seen_.end()));
        REQUIRE(std::adjacent_find(seen_.begin(), seen_.end()) == seen_.end());
        REQUIRE(seen_.back() == of_survivor);
        const auto of_fill = count_below(0, of_victim);
        const auto sent = count_below(of_victim, of_survivor);
        REQUIRE((of_fill == filled_ || of_fill == filled_ - std::min(stepped_batch, filled_ / 2)));
        REQUIRE((sent == 0 || sent == std::min(stepped_batch, capacity - filled_)));
    }

private:
    bool enqueue(pktmbuf_pool& pool, std::uint32_t tag)
    {
        auto* packet = pool.alloc();
        REQUIRE(packet);
        packet->hash.tag = tag;
        if (ring_.enqueue(packet))
            return true;
        free(packet);
        return false;
    }
    bool take()
    {
        mbuf* packet = nullptr;
        if (!ring_.dequeue(packet))
            return false;
        seen_.push_back(packet->hash.tag);
        free(packet);
        return true;
    }
    [[nodiscard]] std::uint32_t count_below(std::uint32_t from, std::uint32_t until) const
    {
        return static_cast<std::uint32_t>(
            std::count_if(seen_.begin(), seen_.end(),
                          [=](std::uint32_t tag) { return tag >= from && tag < until; }));
    }

    staged_ring<mbuf*> ring_;
    std::uint32_t filled_ = 0;
    std::vector<std::uint32_t> seen_;
};

}  // namespace cohort::test
