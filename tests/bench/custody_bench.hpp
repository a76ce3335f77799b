#pragma once
// What custody costs: this program beside the same one built without it (meson option custody).
// Both do the errands of packet_bench.hpp, each in a domain of its own.

#include "measure.hpp"

#include <memory>

namespace cohort::bench {

/// The two programs; ends them when destroyed.
class custody_stage {
public:
    custody_stage();
    ~custody_stage();
    custody_stage(const custody_stage&) = delete;
    custody_stage& operator=(const custody_stage&) = delete;

    /// None, and a line says why, unless COHORT_BENCH_WITHOUT_CUSTODY names the other program.
    /// `this` must outlive them.
    [[nodiscard]] std::vector<measurement> measurements();

private:
    struct cast;
    std::unique_ptr<cast> cast_;
};

/// Be one of them: hears the name of a measurement, says our figure.
[[nodiscard]] int tell_figures();

}  // namespace cohort::bench
