#pragma once
// Requests, attaching and adoption beside DPDK's, with small pages on our side: no memory is used.

#include "measure.hpp"

#include <memory>

namespace cohort::bench {

/// The processes of these measurements; ends them when destroyed.
class action_stage {
public:
    action_stage();
    ~action_stage();
    action_stage(const action_stage&) = delete;
    action_stage& operator=(const action_stage&) = delete;

    /// `this` must outlive them.
    [[nodiscard]] std::vector<measurement> measurements();

private:
    struct cast;
    std::unique_ptr<cast> cast_;
};

}  // namespace cohort::bench
