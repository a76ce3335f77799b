#pragma once
/// The recovery lock, for whoever takes something away or makes it anew.
///
/// *Thread safety*: as of an owner lock.
/// *When a process dies here*: the next one takes the lock over; what was half done stays for it.

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/member/membership.hpp"
#include "cohort/memory/memory.hpp"

#include <string_view>

#include <fmt/format.h>

namespace cohort {

/// The recovery lock: while it is held, no reaper walks an object that goes away, and nobody else
/// registers a name.
class recovery_lock_guard {
public:
    static constexpr auto patience = 5s;

    recovery_lock_guard(owner_lock& lock, actor who, const membership& self, std::string_view name)
        : lock_{lock}
    {
        const auto ask = [&](lane_id lane) { return self.liveness().is_dead(lane); };
        if (lock_.lock(who.lane, deadline_in(patience), ask) == lock_result::stalled)
            throw error{errc::stalled,
                        fmt::format("\"{}\" is left as it is: lane {} has been reaping for more "
                                    "than {} s",
                                    name, lock_.holder(), patience.count())};
    }
    ~recovery_lock_guard() { lock_.unlock(); }
    recovery_lock_guard(const recovery_lock_guard&) = delete;
    recovery_lock_guard& operator=(const recovery_lock_guard&) = delete;

private:
    owner_lock& lock_;
};

}  // namespace cohort
