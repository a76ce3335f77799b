#pragma once

// Catch2 v2 has no notion of a skipped test. COHORT_SKIP_UNLESS returns from the test and records
// why, so that tests/run.sh counts it as skipped and not as passed. If the same test fails as well
// (in another section), it counts as failed.

#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {

/// Notes that the running test did not happen because `missing` was not there.
void record_skip(const std::string& missing);

}  // namespace cohort::test

/// Leaves the test, uncounted, unless `condition` holds. `missing` names the right or thing it
/// needs: "root", "two free 2 MiB pages", "a kernel with AF_XDP".
#define COHORT_SKIP_UNLESS(condition, missing)    \
    do {                                          \
        if (!(condition)) {                       \
            SUCCEED("skipped");                   \
            ::cohort::test::record_skip(missing); \
            return;                               \
        }                                         \
    } while (false)
