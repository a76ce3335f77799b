#include "cohort/base/clock.hpp"

#include <limits>

#include <catch2/catch.hpp>

namespace cohort::test {

TEST_CASE("a wait for ever has a deadline that never comes", "[clock]")
{
    constexpr auto for_ever = steady_clock::duration::max();

    CHECK(deadline_in(for_ever) == deadline::max());
    CHECK(deadline_after(deadline::max(), 1s) == deadline::max());
    CHECK(deadline_after(deadline{}, 1s) == deadline{1s});
    CHECK(deadline_in(steady_clock::duration::min()) < steady_clock::now());
}

TEST_CASE("the time left is what poll takes: rounded up, not negative, not too long", "[clock]")
{
    CHECK(milliseconds_left(deadline{}) == 0);
    CHECK(milliseconds_left(deadline::min()) == 0);
    CHECK(milliseconds_left(deadline::max()) == std::numeric_limits<int>::max());
    CHECK(milliseconds_left(deadline_in(1h)) == 3'600'000);
}

}  // namespace cohort::test
