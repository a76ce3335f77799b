#pragma once
/// The af_xdp port: a network interface of the kernel, by AF_XDP sockets over the memory of a pool.
/// A frame that was received is the mbuf that the kernel has written it into.
///
///   queue i     one socket, bound to queue i of the interface; what arrives at other queues, and
///               what arrives before a queue was claimed first, is the kernel's own stack's
///   position    slots of the rx ring read, or of the tx ring written, since creation
///
/// Every member maps the rings and works at them as the creator does. The sockets, and the program
/// in front of them, live as long as a member has them: before the port is LIVE, another member has
/// got them when there is one.
///
/// Buffers that the kernel has carry a custody word of their own (custody::at_device), so that no
/// death frees them. How many there are is known at any time:
///
///   rx  those with the queue's word  =  posted - position
///   tx  those with the queue's word  =  position - frames completed
///
/// Packets cross the port once, also when the process at a queue is killed:
///
///   post      take buffers; write slots; POSTING; give them the word; move the fill index
///             killed before POSTING: the buffers are the dead member's
///             killed after: the successor takes back those that have the word, for the kernel
///             never looked at these slots; the others are the dead member's
///   rx        list; mark each; commit (burst_journal.hpp);  move the rx index
///             killed before the commit: the frames are received again
///             killed after: the successor moves the index to the position
///   tx        write slots; list; commit; give the word; unlist;  move the tx index; wake the
///   kernel
///             killed before the commit: the kernel never sees them
///             killed after: the successor moves the index to the position
///   complete  take what still has the word; move the completion index; free
///             killed before the index: what was taken is the dead member's, the rest is taken by
///             the successor
///
/// A packet of another pool, a chain, or one that is shared is copied first, for the kernel has
/// only the one memory. The kernel copies between that and its own: zero-copy is not asked for.
///
/// When the port goes, the kernel is made to let go of the memory: no socket in the map, the
/// program away, what was accepted sent, and then one grace period, in which its last look at the
/// map ends.

namespace cohort {

/// Once per process; see register_builtin_drivers.
void register_af_xdp_driver();

}  // namespace cohort
