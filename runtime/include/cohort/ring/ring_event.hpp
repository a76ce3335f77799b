#pragma once
/// A descriptor that becomes readable when a ring has elements, or room: for loops around epoll.
///
///   ring_event arrivals{ring->layout(), ring_waiter::what::elements};
///   ... EPOLLIN on arrivals.fd() ...
///       arrivals.acknowledge();
///       while (ring->dequeue_burst(burst) ...)
///
/// Behind it is a thread that waits at the ring (ring_wait.hpp) and writes an eventfd of this
/// process. Others know nothing of it, so it works with any member, and goes with its owner.
///
/// *Thread safety*: one owner; the descriptor may be polled by any thread.
/// *When a process dies here*: nothing is shared. When a peer is gone, the descriptor becomes
/// readable once more, and `is_peer_gone` says why.
/// *When not to use*: with many rings and few processors; there is a thread for each.

#include "cohort/ring/event_thread.hpp"
#include "cohort/ring/ring_wait.hpp"

namespace cohort {

class ring_event {
public:
    /// Readable when at least `need` are there. The domain must stay open meanwhile. Throws
    /// `errc::system` when there is no descriptor or thread left.
    ring_event(ring_layout& ring, ring_waiter::what wanted, std::uint32_t need = 1,
               member_ref peer = {});
    ~ring_event();
    ring_event(const ring_event&) = delete;
    ring_event& operator=(const ring_event&) = delete;

    [[nodiscard]] int fd() const noexcept { return thread_.fd(); }

    /// Makes the descriptor unreadable, until there is something once more. Call it before the ring
    /// is emptied: what comes in between is then not missed.
    void acknowledge() noexcept { thread_.acknowledge(); }
    /// The wait has ended for good: nobody is left to wait for.
    [[nodiscard]] bool is_peer_gone() const noexcept
    {
        return peer_gone_.load(std::memory_order_acquire);
    }

private:
    ring_waiter waiter_;
    std::atomic<bool> peer_gone_{false};
    event_thread thread_;
};

}  // namespace cohort
