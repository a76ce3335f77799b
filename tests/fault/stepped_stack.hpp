#pragma once
// A stack of packets for the single-step killer: what is killed in it has happened whole or not at
// all.

#include "cohort/domain/domain.hpp"
#include "fault/step_pieces.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

class stepped_stack {
public:
    static constexpr std::uint32_t capacity = 8;
    static constexpr std::uint32_t of_survivor = 5000;

    explicit stepped_stack(domain& in) : stack_{in.create_stack<mbuf*>("shelf", capacity)} {}

    void fill(pktmbuf_pool& pool, std::uint32_t filled)
    {
        filled_ = filled;
        popped_ = 0;
        for (std::uint32_t i = 0; i != filled; ++i)
            push(pool, i);
    }

    /// Before anybody has reaped the victim: waits for its claim to be taken over.
    void proceed(pktmbuf_pool& pool)
    {
        mbuf* packet = nullptr;
        if (stack_.pop(packet)) {
            popped_ = 1;
            free(packet);
        }
        push(pool, of_survivor);
    }

    /// What comes from the top was pushed later than what comes after it; nothing is missing or
    /// twice.
    void check(bool in_order)
    {
        std::vector<std::uint32_t> tags;
        for (mbuf* packet = nullptr; stack_.pop(packet); free(packet))
            tags.push_back(packet->hash.tag);
        REQUIRE(find_fault(stack_.layout()) == nullptr);
        if (!in_order || tags.empty())
            return;
        REQUIRE(tags.front() == of_survivor);
        REQUIRE(std::is_sorted(tags.rbegin(), tags.rend()));
        REQUIRE(std::adjacent_find(tags.begin(), tags.end()) == tags.end());
        const auto left = tags.size() - 1 + popped_;
        const auto taken = std::min(stepped_batch, filled_);
        const auto added = std::min(stepped_batch, capacity - filled_);
        REQUIRE((left == filled_ || left == filled_ - taken || left == filled_ + added));
    }

private:
    void push(pktmbuf_pool& pool, std::uint32_t tag)
    {
        auto* packet = pool.alloc();
        REQUIRE(packet);
        packet->hash.tag = tag;
        REQUIRE(stack_.push(packet));
    }

    stack<mbuf*> stack_;
    std::uint32_t filled_ = 0;
    std::size_t popped_ = 0;
};

}  // namespace cohort::test
