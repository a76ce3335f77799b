#pragma once
// The two calls of the kernel that sleepers and wakers of a shared word need.

#include "cohort/base/clock.hpp"

#include <cstdint>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cohort {

/// Sleeps while the word is `seen`, until woken, or until then. May return early.
inline void futex_sleep(const void* word, std::uint32_t seen, deadline until) noexcept
{
    const auto end = until.time_since_epoch();
    const auto whole = std::chrono::floor<std::chrono::seconds>(end);
    const timespec at{.tv_sec = whole.count(), .tv_nsec = (end - whole).count()};
    ::syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, &at, nullptr, FUTEX_BITSET_MATCH_ANY);
}

inline void futex_wake(const void* word, int sleepers) noexcept
{
    ::syscall(SYS_futex, word, FUTEX_WAKE, sleepers, nullptr, nullptr, 0);
}

}  // namespace cohort
