#pragma once

// Which fault points the scenarios of fault_member pass.

#include <map>
#include <string>
#include <vector>

namespace cohort::test {

/// The points that each scenario of fault_member passes; "close" is a start.
inline const std::map<std::string, std::vector<std::string>> points_of{
    {"start",
     {"region.named", "region.files", "region.laid_out", "member.joining", "member.before_live",
      "member.live", "lane.entering", "lane.held", "primary.live", "memory.placed",
      "memory.described", "memory.init", "memory.published", "lane.leaving", "lane.let_go"}},
    {"open", {"rendezvous.lock_opened", "rendezvous.given", "rendezvous.opened"}},
    {"close", {"rendezvous.closed"}},
    {"adopt",
     {"attach.before_map", "member.joining", "member.before_live", "member.live", "lane.entering",
      "lane.held", "primary.live", "reaper.scrubbed", "reaper.recovered", "lane.leaving",
      "lane.let_go"}},
    {"hand over",
     {"attach.before_map", "handover.mapped", "handover.allowed", "handover.locked",
      "member.joining", "member.before_live", "member.live", "lane.entering", "lane.held",
      "primary.live", "handover.serving"}},
    {"let go", {"handover.letting_go", "handover.let_go"}},
    {"attach",
     {"attach.before_map", "attach.mapped", "attach.joined", "member.joining", "member.before_live",
      "member.live", "lane.entering", "lane.held", "reaper.scrubbed", "reaper.recovered",
      "lane.leaving", "lane.let_go"}},
    {"objects",
     {"memory.made", "memory.grown", "memory.placed", "memory.described", "memory.init",
      "memory.published", "domain.destroying", "memory.dying", "memory.withdrawn", "memory.punched",
      "pool.constructed", "object.constructed"}},
    {"buffers", {"pool.refilled", "pool.flushing"}},
    {"clones",
     {"mbuf.counted", "mbuf.uncounted", "mbuf.letting_go", "mbuf.let_go", "mbuf.taken",
      "mbuf.gathered", "mbuf.giving", "mbuf.given", "mbuf.releasing", "mbuf.released",
      "mbuf.parking", "mbuf.parked"}},
    {"dynamic", {"mbuf.described"}},
    {"message", {"ipc.boxed", "ipc.parcel_sent", "ipc.written", "ipc.posted"}},
    {"heap",
     {"heap.unlinked", "heap.split", "heap.used", "heap.gathered", "heap.freed", "heap.merged",
      "heap.resized", "heap.fetched", "heap.put_aside", "heap.grown", "heap.arena_listed",
      "heap.shrinking", "heap.burying"}},
    {"external",
     {"heap.created", "memory.init_external", "heap.brought", "heap.memory_live", "heap.attached",
      "heap.detached", "heap.forgetting", "heap.removing", "heap.unlinked", "heap.used",
      "heap.freed", "heap.memory_listed", "heap.dropped", "heap.retiring", "memory.dying",
      "memory.published"}},
    {"owe", {"heap.unsound", "heap.relisted", "heap.indebted", "heap.owed", "heap.dismissed"}},
    {"bury", {"heap.rebuilding", "heap.rebuilt", "heap.burying", "heap.freed", "heap.dismissed"}},
    {"settle",
     {"heap.rebuilt", "heap.burying", "heap.put_aside", "heap.freed", "heap.merged", "heap.paid",
      "heap.acquitted"}},
    {"repair", {"heap.rebuilding", "heap.rebuilt"}},
    {"take over", {"ring.taken_over"}},
    {"stages", {"ring.acquiring_again", "ring.abandoned", "ring.dividing"}},
    {"reap",
     {"reaper.begun", "reference.settled", "reaper.scrubbed", "reaper.redelivered",
      "reaper.taken_apart", "reaper.detached", "reaper.batch", "reaper.recovered", "lane.recovered",
      "reaper.external"}},
    {"lose", {"lane.recovered"}},
    {"port",
     {"port.rx_listed", "port.rx_marked", "port.committed", "port.tx_listed", "port.tx_given"}},
    {"interface",
     {"port.rx_listed", "port.rx_marked", "port.committed", "port.tx_listed", "port.tx_given",
      "af_packet.received", "af_packet.committed", "af_packet.requested"}},
    {"tap", {"tap.taken", "port.rx_listed", "port.rx_marked", "port.tx_promised", "tap.written"}},
    {"port life",
     {"port.made", "port.deposited", "port.claimed", "port.closing", "port.closed", "port.let_go"}},
};

}  // namespace cohort::test
