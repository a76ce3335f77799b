#include "cohort/ring/ring_wait.hpp"

#include <utility>

namespace cohort {

ring_waiter::ring_waiter(ring_layout& ring, what wanted, member_ref peer) noexcept
    : ring_{ring}
    , own_{wanted == what::elements ? ring.consumer : ring.producer}
    , other_{wanted == what::elements ? ring.producer : ring.consumer}
    , self_{membership_of(&ring)}
    , wanted_{wanted}
    , peer_{peer}
{
}

bool ring_waiter::is_there(std::uint32_t need) const noexcept
{
    const auto held = ring_.count();
    return (wanted_ == what::elements ? held : ring_.capacity - held) >= need;
}

bool ring_waiter::is_refused() const noexcept
{
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
    const auto before = std::exchange(role_, holder);
    return (holder == 0 && before != 0) || (holder != 0 && self_.liveness().is_dead(holder));
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
            armed = other_.bell.arm();
        } else {
            other_.bell.sleep(armed, until);
            armed = 0;
        }
    }
}

}  // namespace cohort
