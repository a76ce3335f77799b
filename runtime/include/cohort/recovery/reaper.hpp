#pragma once
/// The reaper: gives back what a dead member held.
///
/// Any member may reap; one at a time does, under the recovery lock. Every step is idempotent and
/// leaves the region sound, so a reaper that dies is followed by the next, from the start:
///
///   1  the member's word goes to DYING, its lanes to DEAD
///   2  claims and roles of these lanes in rings, pools, ports and locks are freed
///   3  buffers: {its custody word} minus {in a ring}, and what hangs behind them, go to the pool
///      or, when received and the pool says so, to a ring
///   4  entries it left in INIT or DYING are emptied
///   5  lanes become free, then the slot
///
/// Why step 3 takes nothing from the living: see custody.hpp. A buffer with the dead word is in a
/// ring or lost. If it is in a ring and leaves it during the scan, whoever took it wrote its own
/// word first (I2), and the word is read again after the scan.
///
/// *Thread safety*: any thread with a lane; not from inside a burst call.
/// *When a process dies here*: the lock names its lane; the next reaper starts over.

#include "cohort/member/membership.hpp"
#include "cohort/memory/memory.hpp"
#include "cohort/pool/mempool_layout.hpp"
#include "cohort/recovery/recovery_layout.hpp"

namespace cohort {

class reaper {
public:
    reaper(memory& segments, recovery_layout& recovery, membership& self) noexcept
        : memory_{segments}
        , recovery_{recovery}
        , self_{self}
    {
    }

    enum class outcome {
        done,  ///< reaped, by this call or before it
        busy,  ///< another live reaper is at work: try again later
    };

    /// The caller knows that the member is dead: the kernel said so (pidfd, or lock byte free and
    /// all sentinels dead).
    outcome reap(member_ref dead) noexcept;

    /// What `reap` does, by a member for itself when it leaves; all but its own lane and slot.
    outcome leave() noexcept;

    /// Rolls back and frees lanes whose thread died while their member lives.
    outcome reap_lanes() noexcept;

    /// Tries again to redeliver buffers that found their ring full.
    outcome deliver_waiting() noexcept;

private:
    void reap_locked(member_ref dead, bool orderly) noexcept;
    void scrub_lane(lane_id lane) noexcept;
    obituary_layout& obituary_of(member_ref dead, bool orderly) noexcept;

    memory& memory_;
    recovery_layout& recovery_;
    membership& self_;
};

}  // namespace cohort
