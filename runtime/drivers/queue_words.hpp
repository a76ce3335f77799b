#pragma once
// For drivers that keep words of their own in a queue, port_queue_layout::aux.

#include <atomic>

namespace cohort::detail {

// The words of a queue have one writer at a time, its owner, or the kernel in its name. The next
// owner reads them after its death, in program order; see burst_journal.cpp.
inline constexpr auto plain = std::memory_order_relaxed;
inline constexpr auto in_order = std::memory_order_release;

}  // namespace cohort::detail
