#pragma once
// What tests share under a robust lock: two sums that are equal whenever nobody holds the lock,
// unless the last holder was lost in between.

#include "cohort/member/robust_lock.hpp"

#include <atomic>
#include <cstdint>

namespace cohort::test {

struct totals {
    robust_lock lock;
    std::atomic<std::uint64_t> in{0};  // plain stores: see `add`
    std::atomic<std::uint64_t> out{0};

    /// By the holder. Atomic only for the thread sanitizer, which does not see how the kernel's
    /// word about a dead holder orders what that one has stored.
    static void add(std::atomic<std::uint64_t>& sum) noexcept
    {
        sum.store(sum.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);  // in the order of the program
    }
    void count_one() noexcept
    {
        add(in);
        add(out);
    }
    void repair() noexcept { out.store(in.load()); }
};

}  // namespace cohort::test
