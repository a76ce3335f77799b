#pragma once
// Where the cohort command puts packets.

#include "cohort/port/port_capture.hpp"
#include "pcapng.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace cohort::tool {

class packet_sink {
public:
    virtual ~packet_sink() = default;
    virtual void put(const captured_packet& packet) = 0;
    /// What was put before reaches its reader. Throws `errc::system`.
    virtual void flush() = 0;
    /// The last call: how many passed, those missed included.
    virtual void finish(std::uint64_t received, std::uint64_t missed) = 0;
};

/// A file in pcapng, by its name or "-" for standard output. Throws `errc::system`.
[[nodiscard]] std::unique_ptr<packet_sink> open_pcapng(const std::string& file,
                                                       const pcapng_interface& interface);
/// A line for each packet, on standard output: time, direction and queue, length, who to whom.
[[nodiscard]] std::unique_ptr<packet_sink> print_lines(link_type link);
/// The same as a line of JSON for each packet, and at the end one that counts.
[[nodiscard]] std::unique_ptr<packet_sink> print_json(link_type link);

}  // namespace cohort::tool
