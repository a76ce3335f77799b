#pragma once
// The way that a call takes, instruction by instruction.

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace cohort::test {

/// The `visits`th arrival at `place` is after `steps` instructions of the call.
struct waypoint {
    std::uintptr_t place = 0;
    std::uint64_t visits = 0;
    std::uint64_t steps = 0;
};

class route {
public:
    void add(std::uintptr_t place)
    {
        if (!places_.empty() && places_.back() == place)
            repeated_.insert(place);
        places_.push_back(place);
        visits_.push_back(++arrivals_[place]);
    }

    /// Instructions from the first place to the last.
    [[nodiscard]] std::uint64_t length() const noexcept
    {
        return places_.empty() ? 0 : places_.size() - 1;
    }

    /// The place after so many instructions.
    [[nodiscard]] std::uintptr_t operator[](std::uint64_t count) const { return places_.at(count); }

    /// From where instruction `count` is reached soonest; the start if it is by stepping all.
    [[nodiscard]] waypoint waypoint_before(std::uint64_t count) const
    {
        waypoint best{};
        auto cost = count;
        for (auto at = std::min(count, length()); at != 0 && count - at < cost; --at) {
            const auto place = places_[at];
            const auto by_this = visits_[at] * visit_cost + count - at;
            // An instruction that repeats itself (rep movs) is stepped often and visited once.
            if (by_this < cost && !repeated_.contains(place)) {
                cost = by_this;
                best = {place, visits_[at], at};
            }
        }
        return best;
    }

private:
    static constexpr std::uint64_t visit_cost = 5;  // in steps: 20 us to 4 us, in a virtual machine

    std::vector<std::uintptr_t> places_;
    std::vector<std::uint64_t> visits_;  // of the place so far, this one included
    std::unordered_map<std::uintptr_t, std::uint64_t> arrivals_;
    std::unordered_set<std::uintptr_t> repeated_;
};

}  // namespace cohort::test
