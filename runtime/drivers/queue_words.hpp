#pragma once
// For drivers that keep words of their own in a queue, port_queue_layout::aux.

#include "cohort/port/port_layout.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cohort::detail {

// The words of a queue have one writer at a time, its owner, or the kernel in its name. The next
// owner reads them after its death, in program order; see burst_journal.cpp.
inline constexpr auto plain = std::memory_order_relaxed;
inline constexpr auto in_order = std::memory_order_release;

/// Adds to `missed` what a device that counts from its making on has dropped since the total noted
/// in the word. Any thread of any member.
inline void count_drops_since(port_queue_layout& queue, std::size_t word,
                              std::uint64_t total) noexcept
{
    auto& noted = queue.aux[word];
    auto before = noted.load(plain);
    while (total > before)
        if (noted.compare_exchange_weak(before, total, plain)) {
            queue.missed.fetch_add(total - before, plain);
            return;
        }
}

}  // namespace cohort::detail
