#pragma once
/// Options of a pcap port that both its making and its opening read.

#include "cohort/base/error.hpp"
#include "cohort/port/port_driver.hpp"
#include "pcap_writer.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace cohort::detail {

/// A gap that is the one between the time stamps.
inline constexpr std::uint64_t as_recorded = std::numeric_limits<std::uint64_t>::max();

/// snaplen=BYTES: what is kept of a packet at most.
[[nodiscard]] inline std::uint64_t snap_length_option(std::string_view options)
{
    return number_option("pcap", options, "snaplen", capture_snap_length,
                         {14, capture_snap_length});
}

/// format=pcap or format=pcapng: of the file that is written.
[[nodiscard]] inline capture_format format_option(std::string_view options)
{
    const auto text = option_value(options, "format");
    if (text.empty() || text == "pcap")
        return capture_format::pcap;
    if (text == "pcapng")
        return capture_format::pcapng;
    throw error{errc::invalid_argument,
                fmt::format("format={} of a pcap port must be pcap or pcapng", text)};
}

/// Nanoseconds between two packets, by rate=PACKETS_PER_SECOND or rate=recorded; 0 when they come
/// as fast as they are asked for.
[[nodiscard]] inline std::uint64_t gap_option(std::string_view options)
{
    if (option_value(options, "rate") == "recorded")
        return as_recorded;
    constexpr std::uint64_t second = 1'000'000'000;
    const auto rate = number_option("pcap", options, "rate", 0, {1, second});
    return rate == 0 ? 0 : second / rate;
}

}  // namespace cohort::detail
