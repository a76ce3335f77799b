#pragma once
// Chain, bins and counters of a heap agree.

#include "cohort/domain/heap.hpp"

#include <catch2/catch.hpp>

namespace cohort::test {

inline void require_sound(heap& from)
{
    const auto fault = from.find_fault();
    INFO(fault.value_or(""));
    REQUIRE_FALSE(fault.has_value());
}

}  // namespace cohort::test
