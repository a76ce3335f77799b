#pragma once
// What four stages do to numbered packets: each appends its digit to a value, which done twice is
// not the same as done once.

#include "cohort/packet/mbuf.hpp"

#include <atomic>
#include <cstdint>
#include <string>

namespace cohort::test {

constexpr std::uint8_t redo_stages = 4;
constexpr std::uint32_t redo_packets = 256;

[[nodiscard]] inline std::string ring_of_stage(std::uint8_t stage)
{
    return "stage" + std::to_string(stage);
}

struct numbered_value {
    std::uint64_t number;
    std::uint64_t value;
};

[[nodiscard]] constexpr std::uint64_t after_stage(std::uint64_t value, std::uint8_t stage)
{
    return value * 10 + stage;
}

// A note: the stage in the low byte, and what the value is to be above it. 0 = none.

/// Whose work is under way or done; 1 if nobody has begun.
[[nodiscard]] inline std::uint8_t stage_of_note(const mbuf& packet)
{
    return packet.redo == 0 ? std::uint8_t{1} : static_cast<std::uint8_t>(packet.redo);
}

/// The work of a stage, once, however often who did it was killed meanwhile.
inline void work_once(mbuf& packet, std::uint8_t stage)
{
    auto& content = *packet.data<numbered_value>();
    if (static_cast<std::uint8_t>(packet.redo) != stage)
        packet.redo = after_stage(content.value, stage) << 8 | stage;
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the note is there first
    content.value = packet.redo >> 8;
}

}  // namespace cohort::test
