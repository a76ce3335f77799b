#pragma once
// Copies the packets that lie in a ring, without touching it: whoever uses the ring does not
// notice.
//
// A packet is copied, and then counts only if the consumers had not come to it when that was done:
// up to then nobody else has it, and nobody changes it. What they took before is counted as missed.

#include "cohort/domain/region_layout.hpp"
#include "cohort/port/port_capture.hpp"
#include "cohort/ring/ring_layout.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace cohort::tool {

class ring_watch {
public:
    /// Throws `errc::invalid_argument` when the ring does not carry packets.
    ring_watch(const memory_layout& memory, const memzone_layout& zone, std::uint32_t snap_length);

    [[nodiscard]] std::optional<captured_packet> next();
    [[nodiscard]] bool is_there() const noexcept;
    [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

private:
    /// False when it is no packet that can be read here.
    [[nodiscard]] bool copy(const mbuf& packet);
    [[nodiscard]] bool is_readable(const void* bytes, std::size_t count) const noexcept;

    const memory_layout& memory_;
    const memzone_layout& zone_;
    zone_word made_as_;
    const ring_layout& ring_;
    std::uint32_t snap_length_;
    std::uint32_t position_;
    std::uint64_t missed_ = 0;
    std::vector<std::byte> bytes_;
    std::uint32_t length_ = 0;
};

}  // namespace cohort::tool
