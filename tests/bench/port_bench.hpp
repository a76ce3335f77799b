#pragma once
// Ports in one process, beside DPDK's driver of the same kind: 2 MiB pages, pools of the same size,
// the same packets, bursts and loops on both sides; interfaces on the same cable.

#include "measure.hpp"

#include <memory>
#include <vector>

namespace cohort::bench {

class port_stage {
public:
    explicit port_stage(bool with_dpdk);
    ~port_stage();
    port_stage(const port_stage&) = delete;
    port_stage& operator=(const port_stage&) = delete;

    /// `this` must outlive them. Those of interfaces need the right to make them.
    [[nodiscard]] std::vector<measurement> measurements();

private:
    struct cast;
    std::unique_ptr<cast> cast_;
};

}  // namespace cohort::bench
