#pragma once
/// What may be placed in the region, checked at compile time.

#include <atomic>
#include <type_traits>

namespace cohort {

/// Standard layout, no destructor to run: a process may vanish with it at any time, and another
/// build of the same layout must find every byte where this one put it.
template <typename T>
concept shared_layout = std::is_standard_layout_v<T> && std::is_trivially_destructible_v<T>;

static_assert(std::atomic<unsigned long>::is_always_lock_free);
static_assert(std::atomic<unsigned>::is_always_lock_free);

}  // namespace cohort
