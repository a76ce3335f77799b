#pragma once
/// The tap port: an interface that the kernel has made for us. What the kernel sends on it is
/// received here, and what is sent here the kernel receives on it.
///
///   queue i     one descriptor of /dev/net/tun, attached to the interface; the kernel chooses the
///               queue by flow, and remembers from which one it was written to last
///   position    frames read, or written, since creation
///
/// Every member has the descriptors and reads and writes them as the creator does: straight into
/// and from mbufs, one call of the kernel for each frame. An interface that is not persistent goes
/// with the last member that has the port.
///
/// A frame that was read cannot be read again, and one that was written cannot be taken back. So
/// each frame is committed by itself (burst_journal.hpp), and at a kill one frame a queue at most
/// is in doubt. None is doubled, and none is lost uncounted:
///
///   rx  note READING;  read, the kernel writes TAKEN before the bytes;  commit
///       killed before the kernel took a frame: it is still there
///       killed between TAKEN and the commit: that frame is lost; the successor counts it as missed
///   tx  see frame_tx.hpp
///
/// TAKEN is the packet information that the kernel puts in front of each frame: it goes to a word
/// of the queue. It also says whether the frame was cut, which the mere length does not.
///
/// The descriptors are always of the multi-queue kind, also when there is one: only these can be
/// detached. Who destroys the port does so, since other members may have it open for long.

namespace cohort {

/// Once per process; see register_builtin_drivers.
void register_tap_driver();

}  // namespace cohort
