#pragma once
/// What one process knows of a domain it belongs to, found from any address inside the window.
///
/// A ring, a pool or a buffer is a plain pointer that means the same in all members. Who the
/// calling thread is does not travel with it, so it is looked up: address -> window slot ->
/// membership, and thread -> lane. Both are a table read; neither leaves the cache of a busy
/// thread.
///
/// *Thread safety*: `lane()` by any thread; opening and closing by one at a time.
/// *When a process dies here*: nothing of this is shared.

#include "cohort/member/custody.hpp"
#include "cohort/member/member_table.hpp"
#include "cohort/memory/window.hpp"

#include <array>
#include <functional>
#include <string_view>

namespace cohort {

struct thread_lane {
    std::uint32_t instance = 0;  ///< of the membership; another one means "not entered yet"
    lane_id lane = 0;
};

/// The calling thread's lane in each window, at the place of its first slot.
inline constinit thread_local std::array<thread_lane, window_places> thread_lanes{};

class membership {
public:
    /// Called in the leaving thread while its lane still lives: flush caches, release roles.
    using lane_hook = std::function<void(lane_id)>;

    membership(std::uintptr_t window_base, std::size_t window_bytes, member_table members,
               member_ref self, lane_hook before_leave);
    ~membership();
    membership(const membership&) = delete;
    membership& operator=(const membership&) = delete;

    /// The calling thread's lane, entered on first use. 0 when no lane is left.
    [[nodiscard]] lane_id lane() noexcept
    {
        const auto& mine = thread_lanes[slot_];
        return mine.instance == instance_ ? mine.lane : enter_or_none();
    }

    /// The same without entering: 0 when the thread has not.
    [[nodiscard]] lane_id known_lane() const noexcept
    {
        const auto& mine = thread_lanes[slot_];
        return mine.instance == instance_ ? mine.lane : lane_id{0};
    }

    /// Enters under a name, pinned to `cpu` unless negative. Throws `errc::no_space` when all lanes
    /// are in use and `errc::exists` when the thread has one already.
    lane_id enter_lane(std::string_view name, int cpu = -1);
    /// Gives the calling thread's lane back, if it has one.
    void leave_lane() noexcept;

    [[nodiscard]] member_ref self() const noexcept { return self_; }
    [[nodiscard]] actor who() noexcept { return {lane(), self_.id}; }
    [[nodiscard]] std::uint64_t holder() const noexcept { return holder_; }
    [[nodiscard]] const liveness_view& liveness() const noexcept { return liveness_; }
    [[nodiscard]] member_table& members() noexcept { return members_; }
    [[nodiscard]] std::uint32_t instance() const noexcept { return instance_; }
    [[nodiscard]] std::size_t slot() const noexcept { return slot_; }

private:
    lane_id enter_or_none() noexcept;
    void adopt_lane(lane_id lane) noexcept;

    void occupy(membership* by) noexcept;

    std::size_t slot_;
    std::size_t slots_;  ///< more than one for a window longer than 64 GiB
    std::uint32_t instance_;
    member_table members_;
    member_ref self_;
    std::uint64_t holder_;
    liveness_view liveness_;
    lane_hook before_leave_;
};

/// For each window slot, nullptr where this process belongs to no domain.
inline constinit std::array<membership*, window_places> memberships{};

/// The membership whose window holds `address`, which must lie in an open domain's window.
[[nodiscard]] inline membership& membership_of(const void* address) noexcept
{
    return *memberships[window_place(reinterpret_cast<std::uintptr_t>(address))];
}

}  // namespace cohort
