#include "cohort/domain/lane_rings.hpp"

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr std::uint32_t most_producers = max_lanes - 2;
constexpr std::size_t longest_name = 24;  // and ".126"

}  // namespace

void detail::check_lane_ring(std::string_view name, const lane_ring_options& options)
{
    if (name.size() > longest_name)
        throw error{errc::name_too_long,
                    fmt::format("the lane ring name \"{}\" has {} characters; at most {} fit", name,
                                name.size(), longest_name)};
    if (options.producers == 0 || options.producers > most_producers)
        throw error{errc::invalid_argument,
                    fmt::format("the lane ring \"{}\" asks for {} producers; 1 to {} are allowed",
                                name, options.producers, most_producers)};
}

bool detail::is_made_as(const ring_layout& ring, std::uint32_t capacity,
                        const ring_options& options) noexcept
{
    return ring.capacity == capacity && ring.producer_mode == options.producers &&
           ring.consumer_mode == options.consumers;
}

bool destroy_lane_ring(domain& in, std::string_view name)
{
    bool any = false;
    for (std::uint32_t i = 0; i <= most_producers; ++i)
        any = in.destroy_ring(detail::lane_ring_part(name, i)) || any;
    return any;
}

}  // namespace cohort
