#pragma once
// Two sums under a robust lock for the single-step killer: they are equal, or the next holder is
// told that they may not be.

#include "cohort/domain/domain.hpp"
#include "support/totals.hpp"

#include <catch2/catch.hpp>

namespace cohort::test {

class stepped_totals {
public:
    explicit stepped_totals(domain& in) : shared_{in.create<totals>("totals")} {}

    void fill() noexcept { shared_.in = shared_.out = 0; }

    /// Before anybody has reaped the victim: waits for its lock to be taken over.
    void proceed()
    {
        const robust_guard mine{shared_.lock, deadline_in(10s)};
        REQUIRE(mine);
        const auto missing = shared_.in - shared_.out;
        REQUIRE((missing == 0 || (missing == 1 && mine.taken_over())));
        REQUIRE(shared_.in <= 1);
        cut_short_ += missing;
        shared_.repair();
    }

    /// How often the victim was killed between the two sums.
    [[nodiscard]] std::uint64_t cut_short() const noexcept { return cut_short_; }

    void check() const
    {
        REQUIRE(shared_.lock.holder() == 0);
        REQUIRE(shared_.in == shared_.out);
    }

private:
    totals& shared_;
    std::uint64_t cut_short_ = 0;
};

}  // namespace cohort::test
