#pragma once
/// Waiting at a ring without polling.
///
/// Who waits sleeps in the kernel until the other side moves; see sync/futex_bell.hpp for why no
/// wake is lost and why those who poll pay nothing. For loops around epoll see ring_event.hpp.
///
/// For the stages of a ring see stage_wait.hpp; their ends wait like any ring's.
///
/// A wait ends early when the peer is gone: the lane that has the role of a *single* other side, or
/// the member that the caller names. What the peer had published before is moved first. A lane that
/// had left before the wait began is not told from one that is still to come: name the member.
///
/// In a staged ring a single producer is gone for a stage only once all that it has put in has
/// passed that stage (for the consumers: the last), for until then a batch may come back. A named
/// member that is gone ends the wait at once; what it had put in may be in a stage still.
///
/// *Thread safety*: any thread. A waiting thread claims nothing.
/// *When a process dies here*: a dead waiter leaves the bell armed, which costs the other side one
/// vain wake.
/// *When not to use*: on the data path of a busy ring: looking again costs less than sleeping.

#include "cohort/member/membership.hpp"
#include "cohort/ring/ring_layout.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>

namespace cohort {

enum class wait_end : std::uint8_t {
    moved,      ///< elements were moved, or can be
    timed_out,  ///< the deadline passed
    peer_gone,  ///< who was waited for has left or died
    refused,    ///< this side's role is another lane's, the ring is smaller than the bulk, or there
                ///< is no such stage
};

/// What came of a wait; `count` is not 0 when it ended with `moved`.
struct waited {
    std::size_t count = 0;
    wait_end end = wait_end::moved;
};

/// One thread that waits for elements or for room.
class ring_waiter {
public:
    enum class what : std::uint8_t { elements, room };

    /// `peer` with id 0: nobody in particular.
    ring_waiter(ring_layout& ring, what wanted, member_ref peer = {}) noexcept;
    /// For elements to be acquired in a stage.
    ring_waiter(ring_layout& ring, std::uint32_t stage, member_ref peer) noexcept;

    /// Sleeps until at least `need` are there, or in a stage a batch that has lost its holder, of
    /// any size; another may have moved them when it returns.
    [[nodiscard]] wait_end wait(std::uint32_t need, deadline until) noexcept;

    /// The same, and also ends, with timed_out, when `stop` is true: set it, then `interrupt`.
    [[nodiscard]] wait_end wait(std::uint32_t need, deadline until,
                                const std::atomic<bool>& stop) noexcept;
    /// From any thread. Wakes all who wait here; the others find nothing and sleep again.
    void interrupt() noexcept { bell_.ring_again(); }

private:
    ring_waiter(ring_layout& ring, what wanted, std::uint32_t stage, member_ref peer) noexcept;
    [[nodiscard]] bool is_there(std::uint32_t need) const noexcept;
    [[nodiscard]] bool is_refused() const noexcept;
    [[nodiscard]] bool is_peer_gone() noexcept;
    [[nodiscard]] bool has_all_passed() const noexcept;

    ring_layout& ring_;
    membership& self_;
    what wanted_;
    std::uint32_t stage_;  ///< for elements: of which stage; as many as there are: the consumers
    ring_side& own_;
    ring_side& other_;  ///< whose role may be one lane's
    futex_bell& bell_;
    member_ref peer_;
    lane_id role_ = 0;  ///< of a single other side, as last seen
};

namespace detail {

template <typename Move>
[[nodiscard]] waited wait_and_move(ring_waiter waiter, std::size_t need, deadline until, Move move)
{
    if (need == 0)
        return {};
    for (;;) {
        if (const auto count = move(); count != 0)
            return {count, wait_end::moved};
        const auto end = waiter.wait(static_cast<std::uint32_t>(need), until);
        if (end != wait_end::moved) {
            const auto count = move();  // the last that a peer has left
            return {count, count != 0 ? wait_end::moved : end};
        }
        if (steady_clock::now() >= until)
            return {0, wait_end::timed_out};  // others are always faster
        std::this_thread::yield();
    }
}

}  // namespace detail

/// As dequeue_burst and dequeue_bulk, but waits until there is something, or all of it.
template <typename Ring>
waited wait_dequeue_burst(Ring& from, std::span<typename Ring::element> items, deadline until,
                          member_ref peer = {})
{
    return detail::wait_and_move({from.layout(), ring_waiter::what::elements, peer},
                                 from.elements_in(items.size()) == 0 ? 0 : 1, until,
                                 [&] { return from.dequeue_burst(items); });
}
template <typename Ring>
waited wait_dequeue_bulk(Ring& from, std::span<typename Ring::element> items, deadline until,
                         member_ref peer = {})
{
    return detail::wait_and_move({from.layout(), ring_waiter::what::elements, peer},
                                 from.elements_in(items.size()), until,
                                 [&] { return from.dequeue_bulk(items); });
}

/// As enqueue_burst and enqueue_bulk, but waits until there is room for one, or for all.
template <typename Ring>
waited wait_enqueue_burst(Ring& to, std::span<const typename Ring::element> items, deadline until,
                          member_ref peer = {})
{
    return detail::wait_and_move({to.layout(), ring_waiter::what::room, peer},
                                 to.elements_in(items.size()) == 0 ? 0 : 1, until,
                                 [&] { return to.enqueue_burst(items); });
}
template <typename Ring>
waited wait_enqueue_bulk(Ring& to, std::span<const typename Ring::element> items, deadline until,
                         member_ref peer = {})
{
    return detail::wait_and_move({to.layout(), ring_waiter::what::room, peer},
                                 to.elements_in(items.size()), until,
                                 [&] { return to.enqueue_bulk(items); });
}

}  // namespace cohort
