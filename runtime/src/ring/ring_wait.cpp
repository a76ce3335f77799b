#include "cohort/ring/ring_wait.hpp"

#include "cohort/ring/staged_ring.hpp"

#include <algorithm>

namespace cohort {

namespace {

ring_side& side_of(ring_layout& ring, ring_waiter::what wanted, std::uint32_t stage) noexcept
{
    if (wanted == ring_waiter::what::room)
        return ring.producer;
    return stage < ring.stages ? stage_of(ring, stage).head : ring.consumer;
}

}  // namespace

ring_waiter::ring_waiter(ring_layout& ring, what wanted, std::uint32_t stage,
                         member_ref peer) noexcept
    : ring_{ring}
    , self_{membership_of(&ring)}
    , wanted_{wanted}
    , stage_{stage}
    , own_{side_of(ring, wanted, stage)}
    , other_{wanted == what::room ? ring.consumer : ring.producer}
    , bell_{wanted == what::room ? ring.consumer.bell : bell_before(ring, stage)}
    , peer_{peer}
{
}

ring_waiter::ring_waiter(ring_layout& ring, what wanted, member_ref peer) noexcept
    : ring_waiter{ring, wanted, ring.stages, peer}
{
}

ring_waiter::ring_waiter(ring_layout& ring, std::uint32_t stage, member_ref peer) noexcept
    : ring_waiter{ring, what::elements, std::min(stage, ring.stages), peer}
{
}

bool ring_waiter::is_there(std::uint32_t need) const noexcept
{
    if (wanted_ == what::room)
        return ring_.capacity - ring_.count() >= need;
    if (ring_.stages == 0)
        return ring_.count() >= need;
    const auto position = own_.load().position;
    const auto there = static_cast<std::int32_t>(detail::supplied(ring_, stage_, position, need));
    if (there >= static_cast<std::int32_t>(need))
        return true;
    return stage_ != ring_.stages &&
           (stage_of(ring_, stage_).abandoned.load(std::memory_order_acquire) != 0 ||
            detail::is_oldest_lost(ring_, stage_, self_));
}

bool ring_waiter::is_refused() const noexcept
{
    if (wanted_ == what::elements && stage_ != ring_.stages)
        return false;  // a stage is for any lane
    const auto mode = wanted_ == what::elements ? ring_.consumer_mode : ring_.producer_mode;
    const auto holder = own_.load().lane;
    return mode == ring_mode::single && holder != 0 && holder != self_.known_lane() &&
           !self_.liveness().is_dead(holder);
}

bool ring_waiter::is_peer_gone() noexcept
{
    if (peer_.id != 0) {
        const auto word = self_.members().member(peer_.id).word();
        if (word.state != member_state::live || word.generation != peer_.generation)
            return true;
    }
    const auto mode = wanted_ == what::elements ? ring_.producer_mode : ring_.consumer_mode;
    if (mode != ring_mode::single)
        return false;
    const auto holder = other_.load().lane;
    const bool gone = holder == 0 ? role_ != 0 : self_.liveness().is_dead(holder);
    const bool is_over = gone && has_all_passed();
    if (holder != 0 || !gone || is_over)
        role_ = holder;  // once the dead is reaped the word names nobody: what is known of it stays
    return is_over;
}

/// In a staged ring: nothing is left before, or in, what is waited at.
bool ring_waiter::has_all_passed() const noexcept
{
    if (wanted_ == what::room || ring_.stages == 0)
        return true;
    return advance_tail(ring_, std::min(stage_, ring_.stages - 1)) ==
           ring_.producer.load().position;
}

wait_end ring_waiter::wait(std::uint32_t need, deadline until) noexcept
{
    static constexpr std::atomic<bool> never{false};
    return wait(need, until, never);
}

wait_end ring_waiter::wait(std::uint32_t need, deadline until,
                           const std::atomic<bool>& stop) noexcept
{
    constexpr int spins = 200;
    if (need > ring_.capacity)
        return wait_end::refused;
    for (int i = 0; i != spins && !is_there(need); ++i)
        cpu_relax();
    std::uint32_t armed = 0;  // 0: not yet
    for (;;) {
        // All of this is looked at before arming, to spare the other side a vain wake, and after
        // it.
        if (is_there(need))
            return wait_end::moved;
        if (is_refused())
            return wait_end::refused;
        if (is_peer_gone())
            return is_there(need) ? wait_end::moved : wait_end::peer_gone;
        if (stop.load(std::memory_order_acquire) || steady_clock::now() >= until)
            return wait_end::timed_out;
        if (armed == 0) {
            armed = bell_.arm();
        } else {
            bell_.sleep(armed, until);
            armed = 0;
        }
    }
}

}  // namespace cohort
