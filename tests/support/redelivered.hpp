#pragma once
// Pools whose packets come back when who received them dies.

#include "cohort/packet/mbuf.hpp"

#include <cstdint>
#include <string_view>

namespace cohort::test {

/// Of a pool of `count` packets that come back through that ring.
[[nodiscard]] inline pktmbuf_options redelivered_to(std::string_view ring, std::uint32_t count,
                                                    std::uint32_t cache_size = 8)
{
    return {.count = count,
            .cache_size = cache_size,
            .policy = recovery_policy::redeliver,
            .redeliver_to = ring};
}

}  // namespace cohort::test
