#pragma once
// A capture file in the format pcapng (draft-ietf-opsawg-pcapng): a section with one interface.

#include "cohort/packet/parse.hpp"
#include "cohort/port/port_capture.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace cohort::tool {

/// What an interface description block says.
struct pcapng_interface {
    std::string_view name;
    link_type link{};
    std::uint32_t snap_length = 0;
};

/// Each returns blocks that are to follow those before. Times have nanoseconds.
[[nodiscard]] std::string pcapng_header(const pcapng_interface& interface);
[[nodiscard]] std::string pcapng_packet(const captured_packet& packet);
/// How many packets there were, those missed included.
[[nodiscard]] std::string pcapng_statistics(std::uint64_t time_ns, std::uint64_t received,
                                            std::uint64_t missed);

}  // namespace cohort::tool
