#pragma once
// Where the cohort command captures packets from.

#include "cohort/packet/parse.hpp"
#include "cohort/port/port_capture.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace cohort::tool {

class packet_source {
public:
    virtual ~packet_source() = default;
    /// The next packet, or nothing at this moment.
    [[nodiscard]] virtual std::optional<captured_packet> next() = 0;
    /// False when what is captured has been destroyed.
    [[nodiscard]] virtual bool is_there() const = 0;
    /// Packets that passed unseen.
    [[nodiscard]] virtual std::uint64_t missed() const = 0;
    [[nodiscard]] virtual link_type link() const = 0;
};

/// Looks for a port of that name, then for a ring of packets. As a member, if it is a port: the
/// owners of its queues copy what passes. A ring is only looked at: what is taken out before it has
/// been seen is missed. Throws `not_found`, `invalid_argument`, and what attaching throws.
[[nodiscard]] std::unique_ptr<packet_source> open_source(const std::string& domain,
                                                         const std::string& name,
                                                         std::uint32_t snap_length);

}  // namespace cohort::tool
