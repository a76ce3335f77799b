#pragma once
/// Taking and giving up member slots and lanes.
///
/// *Thread safety*: all calls from any thread of any member.
/// *When a process dies here*: see member_layout.hpp; every step is one store of a state word.

#include "cohort/member/member_layout.hpp"
#include "cohort/sync/liveness_view.hpp"

#include <optional>
#include <string_view>

namespace cohort {

/// A member slot at one generation: what handles and custody words name.
struct member_ref {
    member_id id = 0;
    std::uint32_t generation = 0;
    bool operator==(const member_ref&) const = default;
};

class member_table {
public:
    explicit member_table(member_table_layout& layout) noexcept : layout_{&layout} {}

    /// Initialises the sentinels. Once, by the process that makes the region.
    void create() noexcept;

    /// EMPTY -> JOINING of that slot and fills it in. False when the slot is taken.
    [[nodiscard]] bool begin_join(member_id slot, std::string_view name, member_role role,
                                  std::uint32_t epoch) noexcept;
    void finish_join(member_id slot) noexcept;

    /// LIVE or JOINING -> DYING at that generation. True for everyone who finds it dying or makes
    /// it so, false when the slot has moved on.
    [[nodiscard]] bool begin_death(member_ref member) noexcept;
    /// DYING -> EMPTY.
    void finish_death(member_ref member) noexcept;

    /// Takes a lane for the calling thread, an orphan of the same member first. nullopt when all
    /// `max_lanes - 1` are in use.
    [[nodiscard]] std::optional<lane_id> enter(member_id member, std::string_view name,
                                               int cpu) noexcept;
    /// LIVE -> LEAVING, by the lane's own thread before it flushes, then LEAVING -> FREE.
    void begin_leave(lane_id lane) noexcept;
    void finish_leave(lane_id lane) noexcept;
    /// A leaver looks into all pools, rings and ports. Waits until each lane that leaves now has
    /// done so, or is dead: what was DYING before the call is then seen by no leaver. Returns a
    /// lane that has not at the deadline, else 0.
    [[nodiscard]] lane_id await_leavers(deadline until) const noexcept;

    /// Marks the lane dead if its sentinel has died or `member_is_dead`. True when it is dead now.
    bool mark_dead(lane_id lane, bool member_is_dead) noexcept;
    /// DEAD -> FREE, or -> ORPHAN while its member lives. The lane must be scrubbed everywhere.
    void bury(lane_id lane, bool member_is_dead) noexcept;

    [[nodiscard]] bool is_dead(lane_id lane) const noexcept
    {
        return lane < max_lanes && layout_->lanes[lane].sentinel.owner_died();
    }
    [[nodiscard]] liveness_view liveness() const noexcept;

    [[nodiscard]] bool is_live(member_ref member) const noexcept;
    [[nodiscard]] bool is_current(member_ref member) const noexcept;
    [[nodiscard]] const member_table_layout& layout() const noexcept { return *layout_; }
    [[nodiscard]] member_layout& member(member_id id) const noexcept
    {
        return layout_->members[id];
    }
    [[nodiscard]] lane_layout& lane(lane_id id) const noexcept { return layout_->lanes[id]; }
    [[nodiscard]] lane_references& references(lane_id id) const noexcept
    {
        return layout_->references[id];
    }
    [[nodiscard]] std::atomic<std::uint32_t>& external_waits() const noexcept
    {
        return layout_->external_waits;
    }
    /// Finishes or forgets the reference count that a dead lane was changing.
    void settle_references(lane_id id) const noexcept
    {
        static_cast<void>(settle(layout_->references, id));
    }

    /// Calls `visit(member_id, member_layout&, member_word)` for each slot that is not empty.
    template <typename Visit>
    void for_each_member(Visit&& visit) const
    {
        for (member_id id = 1; id != max_members; ++id)
            if (const auto word = layout_->members[id].word(); word.state != member_state::empty)
                visit(id, layout_->members[id], word);
    }
    /// Calls `visit(lane_id, lane_layout&, lane_word)` for each lane of that member, whatever
    /// state.
    template <typename Visit>
    void for_each_lane_of(member_id member, Visit&& visit) const
    {
        for (lane_id id = 1; id != max_lanes; ++id)
            if (const auto word = layout_->lanes[id].word();
                word.state != lane_state::free && word.member == member)
                visit(id, layout_->lanes[id], word);
    }

private:
    member_table_layout* layout_;
};

/// Start time of a process in clock ticks since boot; 0 when it cannot be read.
[[nodiscard]] std::uint64_t process_start_time(int pid) noexcept;

/// Inode of the PID namespace of the calling process; 0 when it cannot be read.
[[nodiscard]] std::uint64_t own_pid_namespace() noexcept;

}  // namespace cohort
