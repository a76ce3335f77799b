#pragma once
/// Lane rings by name: ring/lane_ring.hpp says what they are.

#include "cohort/base/error.hpp"
#include "cohort/domain/domain.hpp"
#include "cohort/ring/lane_ring.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cohort {

struct lane_ring_options {
    /// Lanes with a ring of their own, 1 to 126; more producers share one.
    std::uint32_t producers = 8;
    ring_mode consumers = ring_mode::multi;
};

namespace detail {

[[nodiscard]] inline std::string lane_ring_part(std::string_view name, std::uint32_t i)
{
    return std::string{name} + '.' + std::to_string(i);
}

/// Throws `errc::name_too_long`, or `invalid_argument` for a count of producers beyond its limits.
void check_lane_ring(std::string_view name, const lane_ring_options& options);

[[nodiscard]] bool is_made_as(const ring_layout& ring, std::uint32_t capacity,
                              const ring_options& options) noexcept;

}  // namespace detail

/// Nothing when no lane ring has that name. Throws as `find_ring`.
template <typename T>
[[nodiscard]] std::optional<lane_ring<T>> find_lane_ring(domain& in, std::string_view name)
{
    const auto first = in.find_ring<T>(detail::lane_ring_part(name, 0));
    if (!first || first->layout().parts == 0)
        return std::nullopt;
    std::vector<ring<T>> rings{*first};
    for (std::uint32_t i = 1; i != first->layout().parts; ++i) {
        const auto next = in.find_ring<T>(detail::lane_ring_part(name, i));
        if (!next)
            return std::nullopt;  // it is being destroyed
        rings.push_back(*next);
    }
    return lane_ring<T>{std::move(rings)};
}

/// `capacity` elements for each producer. The name has at most 24 characters. Throws as
/// `create_ring`. Cut short by an error or a death, it leaves no lane ring, but perhaps some of its
/// rings; the next creation of that name and shape uses them, and `destroy_lane_ring` removes them.
template <typename T>
lane_ring<T> create_lane_ring(domain& in, std::string_view name, std::uint32_t capacity,
                              const lane_ring_options& options = {})
{
    detail::check_lane_ring(name, options);
    const ring_options own{.producers = ring_mode::single, .consumers = options.consumers};
    const ring_options shared{.consumers = options.consumers,
                              .lane_ring_parts = static_cast<std::uint8_t>(options.producers + 1)};
    std::vector<ring<T>> rings;
    for (auto i = options.producers; i != 0; --i) {
        const auto part = detail::lane_ring_part(name, i);
        const auto left = in.find_ring<T>(part);
        rings.push_back(left && detail::is_made_as(left->layout(), capacity, own)
                            ? *left
                            : in.create_ring<T>(part, capacity, own));
    }
    rings.push_back(in.create_ring<T>(detail::lane_ring_part(name, 0), capacity, shared));
    std::reverse(rings.begin(), rings.end());
    return lane_ring<T>{std::move(rings)};
}

/// As destroy_ring. Also removes what a creation cut short has left; false when there was nothing.
bool destroy_lane_ring(domain& in, std::string_view name);

}  // namespace cohort
