#pragma once
/// The af_packet port: a network interface of the kernel, by packet sockets with mapped rings.
///
///   queue i     one socket, bound to the interface; with several, the kernel spreads by flow
///   position    frames read, or written, since creation; position % frames is the frame
///
/// Every member maps the rings and polls them as the creator does. The sockets live as long as a
/// member has them: before the port is LIVE, another member has got them when there is one.
///
/// Packets cross the port once, also when the process at a queue is killed:
///
///   rx  copy frames; MARK each; commit (burst_journal.hpp);  give the frames back to the kernel
///       killed before the commit: the frames are read again
///       killed after: the successor gives back what is marked among the last frames. The kernel
///       wipes the mark of a frame that it fills anew
///   tx  write frames, with length 0; commit; then one store each of SEND_REQUEST and the length
///       killed before the commit: the kernel never sees them
///       killed after: the successor requests those among the last frames whose length is 0
///
/// What the kernel turns down to send, for want of memory or of a link, stays in its frame until
/// the next burst, which may be empty, asks again.
///
/// What the kernel drops for want of frames is counted as missed, when the counters are read. The
/// kernel forgets a count when it tells it: who is killed, or ends its handle, before it could add
/// that count to the port's takes it along.

namespace cohort {

/// Once per process; see register_builtin_drivers.
void register_af_packet_driver();

}  // namespace cohort
