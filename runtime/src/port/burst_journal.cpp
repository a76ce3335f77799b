#include "cohort/port/burst_journal.hpp"

#include "cohort/base/fault_point.hpp"

namespace cohort {
namespace {

// All words of a journal have one writer, the queue's owner. Others read them after its death, or
// late, when a successor has begun to write: then `lane` has changed first.
constexpr auto plain = std::memory_order_relaxed;
constexpr auto in_order = std::memory_order_release;

void disarm(burst_journal_layout& journal) noexcept
{
    journal.armed.store(0, in_order);
}

constexpr std::uint64_t was_copied = 1;  // in a handle; mbufs are aligned to lines

/// All of a list but its handles. `packets` are counted when it is committed.
void describe(port_queue_layout& queue, std::uint64_t packets, const burst_result& result,
              std::uint64_t device) noexcept
{
    auto& journal = queue.journal;
    auto& self = membership_of(&queue);
    disarm(journal);
    journal.lane.store(self.lane(), in_order);
    journal.holder.store(self.holder(), in_order);
    journal.target.store(result.position, in_order);
    journal.packets.store(queue.packets.load(plain) + packets, in_order);
    journal.bytes.store(queue.bytes.load(plain) + result.bytes, in_order);
    journal.device.store(device, in_order);
}

/// Lists packets from place `at` on; returns the place behind them.
std::uint32_t list(burst_journal_layout& journal, std::uint32_t at, std::span<mbuf* const> packets,
                   std::uint64_t note = 0) noexcept
{
    for (auto* packet : packets)
        journal.handles[at++].store(reinterpret_cast<std::uint64_t>(packet) | note, in_order);
    return at;
}

void arm(port_queue_layout& queue, std::span<mbuf* const> packets, const burst_result& result,
         std::uint64_t device = 0) noexcept
{
    describe(queue, packets.size(), result, device);
    queue.journal.armed.store(list(queue.journal, 0, packets), in_order);
}

bool is_committed(const port_queue_layout& queue) noexcept
{
    return queue.position.load(std::memory_order_acquire) ==
           queue.journal.target.load(plain);  // COMMITTED
}

void commit(port_queue_layout& queue) noexcept
{
    auto& journal = queue.journal;
    queue.position.store(journal.target.load(plain), in_order);  // COMMITTED
    COHORT_FAULT_POINT("port.committed");
    queue.packets.store(journal.packets.load(plain), in_order);
    queue.bytes.store(journal.bytes.load(plain), in_order);
}

/// Unlisted before they are freed: a freed buffer may be received again by this very member.
void unlist_sent(port_queue_layout& queue, std::span<mbuf* const> packets) noexcept
{
    const auto holder = queue.journal.holder.load(plain);
    for (auto* packet : packets)
        std::atomic_ref{packet->custody}.store(holder, in_order);
    disarm(queue.journal);
}

std::uint64_t& custody_word(std::uint64_t handle) noexcept
{
    return reinterpret_cast<mbuf*>(handle & ~was_copied)->custody;
}

/// Takes RECEIVED off a buffer, or makes it the device's if there is one, if its word is still what
/// the dead holder left.
void unmark(std::uint64_t handle, std::uint64_t holder, std::uint64_t device) noexcept
{
    const bool to_device = device != 0 && (handle & was_copied) == 0;
    const std::atomic_ref word{custody_word(handle)};
    auto seen = word.load(std::memory_order_acquire);
    if (custody::holder_of(seen) == holder && (to_device || custody::is_received(seen)))
        word.compare_exchange_strong(seen, to_device ? device : holder, std::memory_order_acq_rel);
}

/// Calls `visit(handle)` for each listed packet of which the dead owner must not be the receiver:
/// rx has not handed it out, or tx has sent it.
template <typename Visit>
void for_each_marked_wrongly(const port_queue_layout& queue, port_direction direction, Visit visit)
{
    const auto listed = queue.journal.armed.load(std::memory_order_acquire);
    if (listed == 0 || is_committed(queue) != (direction == port_direction::tx))
        return;
    for (std::uint32_t i = 0; i != listed && i != max_port_burst; ++i)
        visit(queue.journal.handles[i].load(std::memory_order_acquire));
}

}  // namespace

void commit_rx(port_queue_layout& queue, std::uint16_t port, std::span<mbuf* const> packets,
               const burst_result& result) noexcept
{
    arm(queue, packets, result);
    COHORT_FAULT_POINT("port.rx_listed");
    const auto received = custody::received_from(queue.journal.holder.load(plain), port);
    for (auto* packet : packets)
        // A port takes nothing back: with give_back the packets of a dead receiver are freed.
        if (packet->pool->policy != recovery_policy::give_back)
            std::atomic_ref{packet->custody}.store(received, in_order);
    COHORT_FAULT_POINT("port.rx_marked");
    commit(queue);
}

void skip_rx(port_queue_layout& queue, std::uint64_t position) noexcept
{
    disarm(queue.journal);  // its target is about to be overtaken
    queue.position.store(position, in_order);
}

void begin_tx(port_queue_layout& queue, std::span<mbuf* const> packets,
              const burst_result& result) noexcept
{
    arm(queue, packets, result);
    COHORT_FAULT_POINT("port.tx_listed");
}

void commit_tx(port_queue_layout& queue, std::span<mbuf* const> packets) noexcept
{
    COHORT_FAULT_POINT("port.tx_given");
    commit(queue);
    unlist_sent(queue, packets);
    free_bulk(packets);
}

void promise_tx(port_queue_layout& queue) noexcept
{
    queue.position.store(queue.journal.target.load(plain), in_order);  // COMMITTED
    COHORT_FAULT_POINT("port.tx_promised");
}

void finish_tx(port_queue_layout& queue, std::span<mbuf* const> packets) noexcept
{
    commit(queue);
    unlist_sent(queue, packets);
}

void withdraw_tx(port_queue_layout& queue, std::uint64_t position) noexcept
{
    queue.position.store(position, in_order);
    disarm(queue.journal);
}

void cancel_tx(port_queue_layout& queue) noexcept
{
    disarm(queue.journal);
}

void commit_rx_from_device(port_queue_layout& queue, std::uint16_t port,
                           std::span<mbuf* const> packets, const burst_result& result,
                           std::uint64_t device) noexcept
{
    arm(queue, packets, result, device);
    COHORT_FAULT_POINT("port.rx_listed");
    const auto holder = queue.journal.holder.load(plain);
    const auto received = custody::received_from(holder, port);
    for (auto* packet : packets)  // see commit_rx for give_back
        std::atomic_ref{packet->custody}.store(
            packet->pool->policy != recovery_policy::give_back ? received : holder, in_order);
    COHORT_FAULT_POINT("port.rx_marked");
    commit(queue);
}

void commit_tx_to_device(port_queue_layout& queue, const device_handles& handles,
                         std::uint64_t packets, const burst_result& result,
                         std::uint64_t device) noexcept
{
    auto& journal = queue.journal;
    describe(queue, packets, result, device);
    const auto listed = list(journal, list(journal, 0, handles.given), handles.copied, was_copied);
    journal.armed.store(listed, in_order);
    COHORT_FAULT_POINT("port.tx_listed");
    commit(queue);
    for (auto* packet : handles.given)
        std::atomic_ref{packet->custody}.store(device, in_order);
    COHORT_FAULT_POINT("port.tx_handed_over");
    unlist_sent(queue, handles.copied);
}

void settle(port_queue_layout& queue, port_direction direction) noexcept
{
    auto& journal = queue.journal;
    if (journal.armed.load(std::memory_order_acquire) == 0)
        return;
    const auto holder = journal.holder.load(plain);
    const auto device = journal.device.load(plain);
    for_each_marked_wrongly(queue, direction,
                            [&](std::uint64_t handle) { unmark(handle, holder, device); });
    if (is_committed(queue)) {
        queue.packets.store(journal.packets.load(plain), in_order);
        queue.bytes.store(journal.bytes.load(plain), in_order);
    }
    disarm(journal);
}

void unmark_for_dead(port_queue_layout& queue, port_direction direction, lane_id lane) noexcept
{
    auto& journal = queue.journal;
    const auto holder = journal.holder.load(std::memory_order_acquire);
    const auto device = journal.device.load(std::memory_order_acquire);
    for_each_marked_wrongly(queue, direction, [&](std::uint64_t handle) {
        // A successor writes its lane before any handle, so this one is still the dead lane's.
        if (journal.lane.load(std::memory_order_acquire) == lane)
            unmark(handle, holder, device);
    });
}

}  // namespace cohort
