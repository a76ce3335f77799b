#pragma once
/// Finds buffers that stay in the same hands: leaks, most of them.
///
/// No buffer carries the time of its last hand-over: that would be one more store for each, into a
/// line that hot paths only read. So an observer looks again and again. A buffer that has been in
/// the same member's hands, with the same custody word, in every look of some seconds has either
/// been there all the time, or was given back and taken again between any two looks. The latter
/// becomes unlikely with their number: one that is in hand for half of the time passes 20 looks at
/// moments of chance once in a million. So choose more looks, not longer ones, and moments that are
/// not those of a clock that the members follow.
///
/// In a pool that keeps the history of its buffers, ages are exact: since the last event.
///
/// *Thread safety*: one thread; beside anything, for it reads only.
/// *When a process dies here*: nothing was written.

#include "cohort/recovery/audit.hpp"

#include <cstdint>
#include <vector>

namespace cohort {

/// What one member has held of a pool for long.
struct long_holding {
    member_id member = 0;
    std::uint32_t generation = 0;
    std::uint32_t buffers = 0;
    std::uint64_t oldest_ns = 0;  ///< age, at least
};

class leak_watch {
public:
    /// The pool's entry must stay as it is.
    leak_watch(const audited_region& region, const memzone_layout& pool);

    /// A look at all buffers of the pool, at this moment. Moments rise.
    void look(std::uint64_t now_ns);
    [[nodiscard]] std::uint32_t looks() const noexcept { return looks_; }

    /// In the same hands for `age_ns` at least, up to the last look; by member.
    [[nodiscard]] std::vector<long_holding> held_longer_than(std::uint64_t age_ns) const;

private:
    struct hand {
        std::uint64_t word = 0;
        std::uint64_t since_ns = 0;  ///< the first look of an unbroken row; 0 = in no hands
    };
    [[nodiscard]] std::uint64_t age_of(std::uint32_t object) const;

    audited_region region_;
    const memzone_layout& zone_;
    std::vector<hand> hands_;
    std::uint32_t looks_ = 0;
    std::uint64_t first_ns_ = 0;
    std::uint64_t last_ns_ = 0;
    std::uint64_t first_ticks_ = 0;
    std::uint64_t last_ticks_ = 0;
};

}  // namespace cohort
