#pragma once

#include "cohort/ring/ring_layout.hpp"

namespace cohort::test {

inline constexpr ring_options single{.producers = ring_mode::single,
                                     .consumers = ring_mode::single};

}  // namespace cohort::test
