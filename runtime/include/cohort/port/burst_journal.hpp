#pragma once
/// How a burst crosses a port exactly once, whatever instruction its process is killed at.
///
/// A driver whose device remembers what it was given (a file) must not give it the same packets
/// twice, nor drop any. Two facts then have to change together: how far the device got (the queue's
/// `position`) and who answers for the packets (their custody words). They are tied by a list of
/// the packets, written before either changes:
///
///   rx  fill the mbufs; list them; mark each RECEIVED;  position = target  COMMITTED
///       killed before: the marks are taken off, the buffers are free, the successor reads again
///       killed after:  the packets are the dead member's, and are redelivered if the pool says so
///   tx  list the packets; give them to the device;      position = target  COMMITTED
///       take off the marks; unlist; free
///       killed before: the packets are the dead member's; the successor wipes what the device got
///       killed after:  the marks are taken off, so that no packet is redelivered and sent twice
///
/// A device that takes nothing back (an interface) is promised the packets instead: the position
/// moves before they are given. What a killed process was giving is not given again, so none is
/// sent twice; whether the device has it, the driver has to say or to count.
///
/// A device that takes the packets themselves (a socket that has the pool's memory) answers for
/// them in between, and their custody words say so: custody::at_device. These words change by the
/// same list:
///
///   rx  list the packets that lie ready; mark each;      position = target  COMMITTED
///       killed before: the marks become the device's words again, for there the packets still lie
///   tx  list the packets;                                position = target  COMMITTED
///       give each the device's word; unlist
///       killed after: those words are given for the dead. Packets that were copied are marked in
///       the list: the device has their copies, so only RECEIVED is taken off them
///
/// Taking off the marks is done by whoever comes first: the reaper of the dead lane, before it
/// looks at buffers, or the next owner of the queue. Both compare the whole custody word, so doing
/// it twice or late harms nothing. The counters are brought up to date by the next owner alone.
///
/// *Thread safety*: commit and settle by the owner of the queue; unmark by any lane.
/// *When a process dies here*: that is what this is for. COMMITTED is one store; the stores of a
/// dead process are seen in program order, so compiler order is enough, which release stores give.

#include "cohort/packet/mbuf.hpp"
#include "cohort/port/port_layout.hpp"

#include <span>

namespace cohort {

/// What a burst adds up to.
struct burst_result {
    std::uint64_t position = 0;  ///< of the queue after the burst; differs from the one before
    std::uint64_t bytes = 0;     ///< of the packets
};

/// Hands `packets` (at most max_port_burst, at least one), fresh from their pool, to the caller as
/// received on the port, and moves the position.
void commit_rx(port_queue_layout& queue, std::uint16_t port, std::span<mbuf* const> packets,
               const burst_result& result) noexcept;
/// Moves the position past what yields no packet.
void skip_rx(port_queue_layout& queue, std::uint64_t position) noexcept;

/// Lists `packets` (at most max_port_burst, at least one) before the device gets them.
void begin_tx(port_queue_layout& queue, std::span<mbuf* const> packets,
              const burst_result& result) noexcept;
/// Moves the position and frees the packets: the device has them.
void commit_tx(port_queue_layout& queue, std::span<mbuf* const> packets) noexcept;
/// Moves the position before the device gets the packets; afterwards, one of the next two.
void promise_tx(port_queue_layout& queue) noexcept;
/// The device has them: counts them and takes off their marks. The caller frees them.
void finish_tx(port_queue_layout& queue, std::span<mbuf* const> packets) noexcept;
/// The device has refused what it was promised: the position is again what it was before.
void withdraw_tx(port_queue_layout& queue, std::uint64_t position) noexcept;
/// The device has refused: the packets stay with the caller.
void cancel_tx(port_queue_layout& queue) noexcept;

/// As commit_rx, for packets that the device had, under the custody word `device`.
void commit_rx_from_device(port_queue_layout& queue, std::uint16_t port,
                           std::span<mbuf* const> packets, const burst_result& result,
                           std::uint64_t device) noexcept;
/// What a device is given: packets, or copies of packets; max_port_burst of all together at most.
struct device_handles {
    std::span<mbuf* const> given;   ///< the device has them from now on
    std::span<mbuf* const> copied;  ///< the caller frees them afterwards
};
/// Moves the position and hands the packets to the device, which `device` names. `packets` of them
/// are counted.
void commit_tx_to_device(port_queue_layout& queue, const device_handles& handles,
                         std::uint64_t packets, const burst_result& result,
                         std::uint64_t device) noexcept;

/// For the new owner of a queue, before its first burst: finishes or undoes what the last one left.
void settle(port_queue_layout& queue, port_direction direction) noexcept;

/// For the reaper of `lane`, before it looks for buffers. Idempotent.
void unmark_for_dead(port_queue_layout& queue, port_direction direction, lane_id lane) noexcept;

}  // namespace cohort
