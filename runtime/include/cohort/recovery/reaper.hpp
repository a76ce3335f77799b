#pragma once
/// The reaper: gives back what a dead member held.
///
/// Any member may reap; one at a time does, under the recovery lock. Every step is idempotent and
/// leaves the region sound, so a reaper that dies is followed by the next, from the start:
///
///   0  reference counts that dead lanes were changing are settled (member/reference_layout.hpp)
///   1  the member's word goes to DYING, its lanes to DEAD
///   2  claims and roles of these lanes in rings, pools, ports and locks are freed
///   3  buffers: {its custody word} minus {in a ring}, and what hangs behind them, go to the pool
///      or, when received and the pool says so, to a ring. Its clones let go of what they show, and
///      what nobody shows any more goes to its pool, too
///   4  entries it left in INIT or DYING are emptied
///   5  lanes become free, then the slot
///
/// Why step 3 takes nothing from the living: see custody.hpp. A buffer with the dead word is in a
/// ring or lost. If it is in a ring and leaves it during the scan, whoever took it wrote its own
/// word first (I2), and the word is read again after the scan.
///
/// Objects are destroyed under the same lock, so none vanishes while a reaper walks them.
///
/// *Thread safety*: any thread with a lane; not from inside a burst call. May throw bad_alloc; what
/// was done until then stays done, and the next call starts over.
/// *When a process dies here*: the lock names its lane; the next reaper starts over.

#include "cohort/member/membership.hpp"
#include "cohort/memory/memory.hpp"
#include "cohort/pool/mempool_layout.hpp"
#include "cohort/recovery/recovery_layout.hpp"

#include <functional>
#include <utility>

namespace cohort {

/// Frees every claim, role and lock of a lane except the recovery lock. For the reaper of a dead
/// lane, or the lane's own thread when it leaves; `me` is the caller's lane. Idempotent.
void scrub_everywhere(memory_layout& memory, lane_id lane, lane_id me) noexcept;

class reaper {
public:
    /// Called with a dead member when its buffers are back and its slot is not yet free: for what
    /// layers above keep about members in rings.
    using burial_hook = std::function<void(member_ref)>;

    reaper(memory& segments, recovery_layout& recovery, membership& self,
           burial_hook before_burial = {})
        : memory_{segments}
        , recovery_{recovery}
        , self_{self}
        , before_burial_{std::move(before_burial)}
    {
    }

    enum class outcome {
        done,  ///< reaped, by this call or before it
        busy,  ///< another reaper is at work, or a stopped process is in the way: try again later
    };

    /// The caller knows that the member is dead: the kernel said so (pidfd, or lock byte free and
    /// all sentinels dead).
    outcome reap(member_ref dead);

    /// What `reap` does, by a member for itself when it leaves; all but its own lane and slot.
    outcome leave();

    /// Rolls back and frees lanes whose thread died while their member lives.
    outcome reap_lanes();

    /// Tries again to redeliver buffers that found their ring full, and to free external memory
    /// that waits for a function which this process has.
    outcome deliver_waiting();

private:
    bool reap_locked(member_ref dead, bool orderly);
    void free_external(std::atomic<std::uint32_t>& waits, obituary_layout& nobody);
    void repair_memory(lane_id dead);
    /// False when a stopped member holds a heap.
    bool release_heap_blocks(member_ref dead);
    obituary_layout& obituary_of(member_ref dead, bool orderly) noexcept;

    memory& memory_;
    recovery_layout& recovery_;
    membership& self_;
    burial_hook before_burial_;
};

}  // namespace cohort
