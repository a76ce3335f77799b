#pragma once
// Where in a free block a request begins, and how large a block is sure to hold it.

#include "cohort/base/bits.hpp"
#include "cohort/memory/heap_blocks.hpp"

#include <algorithm>

namespace cohort {

inline std::uint64_t bytes_of(std::uint32_t units) noexcept
{
    return std::uint64_t{units} * heap_unit_bytes;
}

/// Units between a block's start and the first place in it where `units` may begin.
inline std::uint32_t front_of(std::uintptr_t block, std::uint64_t payload_bytes,
                              const heap_request& wanted) noexcept
{
    const auto alignment = std::max(wanted.alignment, heap_unit_bytes);
    auto payload = align_up(block + sizeof(heap_block), alignment);
    const auto front = [&] { return payload - sizeof(heap_block) - block; };
    while (front() != 0 && front() < min_block_units * heap_unit_bytes)
        payload += alignment;
    if (wanted.boundary != 0 && align_down(payload, wanted.boundary) !=
                                    align_down(payload + payload_bytes - 1, wanted.boundary)) {
        payload = align_up(payload, std::max(wanted.boundary, alignment));
        while (front() != 0 && front() < min_block_units * heap_unit_bytes)
            payload += std::max(wanted.boundary, alignment);
    }
    return static_cast<std::uint32_t>(front() / heap_unit_bytes);
}

/// Units that are enough wherever the block begins.
inline std::uint64_t with_slack(std::uint32_t units, const heap_request& wanted) noexcept
{
    std::uint64_t slack = 0;
    if (wanted.alignment > heap_unit_bytes)
        slack += wanted.alignment / heap_unit_bytes + min_block_units;
    if (wanted.boundary != 0)
        slack += wanted.boundary / heap_unit_bytes + min_block_units;
    return units + slack;
}

}  // namespace cohort
