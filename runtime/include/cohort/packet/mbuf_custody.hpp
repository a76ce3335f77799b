#pragma once
/// Handing packets over without a ring: what a member holds goes with it when it dies, unless it is
/// given to another or kept.
///
///   who holds it        word of the head                       who moves it
///   a member            holder(member)                         that member; its reaper
///   given to another    holder(other)                          one store; from then on that other
///   kept by the domain  holder(kept)                           one store; whoever takes it, by CAS
///
/// How the other comes to know the address is the caller's affair: a message, a memzone, a ring of
/// values. Segments behind the head go with it, clones and handles are the head's own affair
/// (mbuf_clone.hpp).
///
/// *Thread safety*: the holder calls `keep` and `domain::give`; any thread with a lane `take`.
/// *When a process dies here*: before the store it was the dead member's, after it the other's. A
/// packet that was given and not received from a ring is released when its holder dies, whatever
/// the pool's policy. What is kept stays until it is taken: `cohort holders` shows it.

#include "cohort/packet/mbuf.hpp"

namespace cohort {

/// The domain has the packet from here on, and no death frees it.
inline void keep(mbuf& packet) noexcept
{
    std::atomic_ref{packet.custody}.store(custody::holder(custody::kept, 0),
                                          std::memory_order_release);
}

/// The caller's member has a kept packet from here on. Of several that try, one gets it.
[[nodiscard]] inline bool take(mbuf& packet) noexcept
{
    auto& self = membership_of(&packet);
    auto seen = custody::holder(custody::kept, 0);
    return self.lane() != 0 &&
           std::atomic_ref{packet.custody}.compare_exchange_strong(
               seen, self.holder(), std::memory_order_acq_rel, std::memory_order_acquire);
}

}  // namespace cohort
