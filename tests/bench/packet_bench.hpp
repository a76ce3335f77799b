#pragma once
// Pools and packets in one process and between two, beside rte_mempool and rte_mbuf: 2 MiB pages on
// both sides, the same counts, caches and loops.

#include "measure.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace cohort::bench {

/// The processes of the packet measurements; ends the others when destroyed. A running EAL, if
/// there is one, is the peer's.
class packet_stage {
public:
    explicit packet_stage(bool with_dpdk);
    ~packet_stage();
    packet_stage(const packet_stage&) = delete;
    packet_stage& operator=(const packet_stage&) = delete;

    /// `this` must outlive them.
    [[nodiscard]] std::vector<measurement> measurements();

private:
    struct cast;
    std::unique_ptr<cast> cast_;
};

/// Be the other process number `who`.
[[nodiscard]] int play_packets(bool with_dpdk, std::uint32_t who);

}  // namespace cohort::bench
