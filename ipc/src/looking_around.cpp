// The part of a dispatcher that no descriptor calls for: who is dead, what waits, and what has
// happened, for those who want to hear of it.

#include "cohort/ipc/dispatcher.hpp"

#include <string>
#include <utility>
#include <vector>

#include <sys/epoll.h>

namespace cohort::ipc {

std::string dispatcher::reason_of(member_ref dead) const
{
    std::string reason;
    peers_.for_each([&](const peers::descriptors& known) {
        if (known.member == dead)
            reason = exit_reason(known.pidfd.get());
    });
    return reason;
}

void dispatcher::bury(member_ref dead)
{
    actions_.member_died(dead);  // whoever waits for it learns first
    events_.note_reason(dead, reason_of(dead));
    if (reaper_.reap(dead) == reaper::outcome::busy)
        return;  // the slot stays DYING: the next look around tries again
    peers_.for_each([&](const peers::descriptors& known) {
        if (known.member == dead)
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, known.pidfd.get(), nullptr);
    });
    peers_.forget(dead);
    events_.tell();
}

/// The rule for a member whose pidfd is silent or unknown: its lock byte is free and no sentinel of
/// its lanes is held by the living.
bool dispatcher::is_dead_without_pidfd(member_id id, member_word word)
{
    if (lock_.is_locked(lock_description::member_byte(id)))
        return false;
    bool alive = false;
    auto& table = domain_.members().members();
    table.for_each_lane_of(id, [&](lane_id, lane_layout& lane, lane_word) {
        alive = alive || (lane.sentinel.is_held() && !lane.sentinel.owner_died());
    });
    return !alive && table.is_current({id, word.generation});
}

void dispatcher::look_around()
{
    auto& table = domain_.members().members();
    table.for_each_member([&](member_id id, member_layout&, member_word word) {
        const member_ref member{id, word.generation};
        if (member != domain_.self() &&
            (peers_.has_ended(member) || is_dead_without_pidfd(id, word)))
            bury(member);
    });
    std::vector<member_ref> gone;  // left in an orderly way, or reaped by another member
    peers_.for_each([&](const peers::descriptors& known) {
        if (!table.is_current(known.member))
            gone.push_back(known.member);
    });
    for (const auto left : gone)
        bury(left);
    reaper_.reap_lanes();
    reaper_.deliver_waiting();
    domain_.segments().give_back_strays(domain_.members().who());
    domain_.ports().forget_gone();
    actions_.post().sweep();
    events_.tell();
}

void dispatcher::on_event(event_handler hears)
{
    events_.add(std::move(hears), has_thread(), [this] { domain_.leave_lane(); });
}

}  // namespace cohort::ipc
