#pragma once
// robust_lock beside the robust mutex of the C library, which recovers from a dead holder as well,
// and beside its plain one, which does not: between threads, in memory of a domain.

#include "measure.hpp"

#include <memory>
#include <vector>

namespace cohort::bench {

class lock_stage {
public:
    lock_stage();
    ~lock_stage();
    [[nodiscard]] std::vector<measurement> measurements();

private:
    struct locks;
    std::unique_ptr<locks> locks_;
};

}  // namespace cohort::bench
