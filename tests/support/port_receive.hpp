#pragma once
// Packets out of a port, when it takes a while until they are there.

#include "cohort/port/port.hpp"
#include "support/eventually.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace cohort::test {

/// How many packets a burst of a few finds there now; they are freed.
inline std::size_t receive_now(port& from, std::uint16_t queue = 0)
{
    std::array<mbuf*, 8> burst;
    const auto count = from.rx_burst(queue, burst);
    free_bulk(std::span{burst}.first(count));
    return count;
}

/// Up to `most` packets of queue 0, which the caller has then. Waits until there are as many, if
/// they come at all.
[[nodiscard]] inline std::vector<mbuf*> receive(port& from, std::size_t most)
{
    std::vector<mbuf*> all;
    static_cast<void>(eventually([&] {
        std::array<mbuf*, 8> burst;
        const auto want = std::min(burst.size(), most - all.size());
        const auto count = from.rx_burst(0, std::span{burst}.first(want));
        all.insert(all.end(), burst.begin(), burst.begin() + static_cast<std::ptrdiff_t>(count));
        return all.size() == most;
    }));
    return all;
}

}  // namespace cohort::test
