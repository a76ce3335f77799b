#pragma once
// Memzones that hold payload are named after sender and receiver: survivors read there whose they
// are.

#include "cohort/member/member_table.hpp"

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

namespace cohort::ipc {

inline constexpr std::size_t box_digits = 2 + 8 + 2 + 8 + 4;
inline constexpr std::string_view box_prefix = "cohort.";

struct box_route {
    member_ref from;
    member_ref to;
};

[[nodiscard]] inline std::string box_name(const box_route& route, std::uint64_t number)
{
    return fmt::format("{}{:02x}{:08x}{:02x}{:08x}{:04x}", box_prefix, route.from.id,
                       route.from.generation, route.to.id, route.to.generation, number & 0xffff);
}

[[nodiscard]] inline std::optional<box_route> route_of_box(std::string_view name) noexcept
{
    if (name.size() != box_prefix.size() + box_digits || !name.starts_with(box_prefix))
        return std::nullopt;
    name.remove_prefix(box_prefix.size());
    bool sound = true;
    const auto number = [&](std::size_t digits) {
        std::uint32_t value = 0;
        const auto* end = name.data() + digits;
        const auto [stop, failure] = std::from_chars(name.data(), end, value, 16);
        sound = sound && failure == std::errc{} && stop == end;
        name.remove_prefix(digits);
        return value;
    };
    box_route route;
    route.from.id = static_cast<member_id>(number(2));
    route.from.generation = number(8);
    route.to.id = static_cast<member_id>(number(2));
    route.to.generation = number(8);
    static_cast<void>(number(4));
    sound = sound && route.from.id < max_members && route.to.id < max_members;
    return sound ? std::optional{route} : std::nullopt;
}

/// A member as a number.
[[nodiscard]] inline std::uint64_t key_of(member_ref member) noexcept
{
    return std::uint64_t{member.id} << 32 | member.generation;
}

}  // namespace cohort::ipc
