#pragma once
/// Who has one buffer: a look through all rings and caches, for debugging.
///
/// *Thread safety*: any number at a time, beside anything. What is on its way at that moment may be
/// seen at either end of it.
/// *When a process dies here*: nothing was written.

#include "cohort/recovery/audit.hpp"

namespace cohort {

struct whereabouts {
    enum class place {
        unknown,   ///< no object of a live pool
        pool,      ///< in the pool's own ring
        cache,     ///< of `lane`, of `member`
        ring,      ///< in the ring `name`
        held,      ///< by `member`, got from its pool or given to it
        received,  ///< by `member`, from the ring `name`
        follower,  ///< behind the head of a chain, which has its custody
        shared,    ///< in nobody's hands: clones keep it
        device,    ///< at the device of the port `name`
        kept,      ///< by the domain, until somebody takes it
        waiting,   ///< for room in its redelivery ring, or for who can free its external memory
        lost,      ///< its holder has died and is being reaped
    };
    place where = place::unknown;
    std::string pool{};  ///< the name of its pool
    std::string name{};
    member_id member = 0;
    std::uint16_t lane = 0;

    /// A sentence part: "held by member 3", "in the ring "to_work"".
    [[nodiscard]] std::string text() const;
};

[[nodiscard]] whereabouts find(const audited_region& region, std::uint64_t handle);

}  // namespace cohort
