#pragma once
// Rings between processes, beside rte_ring in the same pages, with the same loops.

#include "measure.hpp"

#include <memory>
#include <string>

namespace cohort::bench {

/// The processes of the ring measurements; ends them when destroyed.
class ring_stage {
public:
    ring_stage();
    ~ring_stage();
    ring_stage(const ring_stage&) = delete;
    ring_stage& operator=(const ring_stage&) = delete;

    /// `this` must outlive them.
    [[nodiscard]] std::vector<measurement> measurements();

private:
    void add_crowded(std::vector<measurement>& list);

    struct cast;
    std::unique_ptr<cast> cast_;
};

/// Be the other process number `who`, of the domain that a stage has made.
[[nodiscard]] int play_ring(const std::string& domain, std::uint32_t who);

}  // namespace cohort::bench
