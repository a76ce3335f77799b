#pragma once
// Part of a table.

#include "support/scale.hpp"
#include "support/seed.hpp"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

namespace cohort::test {

/// The rows that this run tries: all, but in slow sanitizer builds a third of them, another third
/// with another seed. There each takes seconds, and what a kill leaves to do is the same in all
/// builds.
template <typename Row>
[[nodiscard]] std::vector<Row> drawn(std::string_view use, const std::vector<Row>& all)
{
    const auto step = slow_sanitizer && !full_scale() ? std::min<std::size_t>(3, all.size()) : 1;
    std::vector<Row> tried;
    for (auto i = random_engine(use)() % step; i < all.size(); i += step)
        tried.push_back(all[i]);
    return tried;
}

}  // namespace cohort::test
