#pragma once
// A ring of plain numbers for the single-step killer: what is killed in it has happened whole or
// not at all.

#include "cohort/domain/domain.hpp"
#include "fault/step_pieces.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

class stepped_values {
public:
    static constexpr std::uint32_t capacity = 8;
    static constexpr std::uint64_t of_survivor = 5000;

    explicit stepped_values(domain& in) : ring_{in.create_ring<std::uint64_t>("values", capacity)}
    {
    }

    void fill(std::uint32_t filled, std::uint32_t position)
    {
        filled_ = filled;
        seen_.clear();
        rewind(ring_.layout(), position);
        for (std::uint64_t i = 0; i != filled; ++i)
            REQUIRE(ring_.enqueue(i));
    }

    /// Both ends, before anybody has reaped the victim. Waits for its claim to be taken over.
    void proceed()
    {
        std::uint64_t value = 0;
        if (ring_.dequeue(value))
            seen_.push_back(value);
        REQUIRE(ring_.enqueue(of_survivor));
    }

    void check()
    {
        for (std::uint64_t value = 0; ring_.dequeue(value);)
            seen_.push_back(value);
        REQUIRE(find_fault(ring_.layout()) == nullptr);
        REQUIRE(std::is_sorted(seen_.begin(), seen_.end()));
        REQUIRE(std::adjacent_find(seen_.begin(), seen_.end()) == seen_.end());
        const auto of_fill = count_below(0, first_value_of_victim);
        const auto of_victim = count_below(first_value_of_victim, of_survivor);
        const bool took_nothing = of_fill == filled_;
        const bool took_all = of_fill == filled_ - std::min(stepped_batch, filled_);
        const bool sent_nothing = of_victim == 0;
        const bool sent_all = of_victim == std::min(stepped_batch, capacity - filled_);
        REQUIRE((took_nothing || took_all));
        REQUIRE((sent_nothing || sent_all));
        REQUIRE(seen_.back() == of_survivor);
    }

private:
    [[nodiscard]] std::uint32_t count_below(std::uint64_t from, std::uint64_t until) const
    {
        return static_cast<std::uint32_t>(
            std::count_if(seen_.begin(), seen_.end(),
                          [=](std::uint64_t value) { return value >= from && value < until; }));
    }

    ring<std::uint64_t> ring_;
    std::uint32_t filled_ = 0;
    std::vector<std::uint64_t> seen_;
};

}  // namespace cohort::test
