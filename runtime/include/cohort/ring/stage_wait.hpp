#pragma once
/// Waiting for something to do in a stage, without polling: `wait_acquire_burst`. Producers and
/// consumers of a staged ring wait by ring_wait.hpp.
///
/// Who waits sleeps until the stage before, or the producers, let elements pass, or a batch of this
/// stage is given back. Batches released out of order wake nobody: it is the oldest that counts.
/// Those who poll pay a look at a word for it, when a tail moves.
///
/// *Thread safety*: any thread. A waiting thread holds and claims nothing.
/// *When a process dies here*: as at any ring. What a dead worker held is looked for at once by who
/// sleeps in its stage, for the reaper wakes all who sleep at the ring; at the latest after a slice
/// of 100 ms.
/// *When not to use*: in a busy stage: looking again costs less than sleeping.

#include "cohort/ring/ring_wait.hpp"
#include "cohort/ring/staged_ring.hpp"

namespace cohort {

/// What came of a wait; the batch is not empty when it ended with `moved`, unless 0 were asked for.
template <typename T>
struct acquired {
    stage_grant<T> batch;
    wait_end end = wait_end::moved;
};

/// As acquire_burst, but waits until there is something. Ends early, with peer_gone, when `peer` is
/// gone, or a single producer whose elements have all passed this stage; that nothing is to come
/// any more is noticed within a slice of 100 ms.
template <typename T>
[[nodiscard]] acquired<T> wait_acquire_burst(staged_ring<T>& from, std::uint32_t stage,
                                             std::size_t count, deadline until,
                                             member_ref peer = {})
{
    if (stage >= from.stages())
        return {{}, wait_end::refused};
    acquired<T> came;
    const auto move = [&] {
        came.batch = from.acquire_burst(stage, count);
        return came.batch.size();
    };
    came.end =
        detail::wait_and_move({from.layout(), stage, peer}, count == 0 ? 0 : 1, until, move).end;
    return came;
}

}  // namespace cohort
