#pragma once
// How long a death is felt: at a ring that the dead used, and until its buffers are back.

#include "measure.hpp"

#include <memory>
#include <string>

namespace cohort::bench {

/// The domain of these measurements; ends it when destroyed.
class recovery_stage {
public:
    recovery_stage();
    ~recovery_stage();
    recovery_stage(const recovery_stage&) = delete;
    recovery_stage& operator=(const recovery_stage&) = delete;

    /// `this` must outlive them.
    [[nodiscard]] std::vector<measurement> measurements();

private:
    struct cast;
    std::unique_ptr<cast> cast_;
};

/// Be one who is killed: a "holder" of all buffers, or a "user" of the ring.
[[nodiscard]] int play_victim(const std::string& part);

}  // namespace cohort::bench
