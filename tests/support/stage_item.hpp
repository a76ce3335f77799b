#pragma once
// What the workers of a stage write into the elements that they pass.

#include <array>
#include <cstdint>

namespace cohort::test {

inline constexpr std::uint8_t worked_stages = 2;

struct stage_item {
    std::uint32_t number = 0;
    std::array<std::uint16_t, worked_stages> passed{};  ///< how often, by each stage

    [[nodiscard]] bool has_passed_all() const noexcept { return passed[0] != 0 && passed[1] != 0; }
};

}  // namespace cohort::test
