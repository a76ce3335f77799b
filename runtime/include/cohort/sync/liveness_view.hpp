#pragma once
/// How a layer below the lanes asks whether a lane still lives: the answer comes as a parameter.

#include "cohort/sync/owner_lock.hpp"

namespace cohort {

/// A question put to the lane table of one domain; process-local, copied freely.
struct liveness_view {
    const void* lanes = nullptr;
    bool (*ask)(const void* lanes, lane_id lane) noexcept = nullptr;

    /// True when the kernel has reported the death of the lane's thread.
    [[nodiscard]] bool is_dead(lane_id lane) const noexcept { return ask(lanes, lane); }
};

}  // namespace cohort
