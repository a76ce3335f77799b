#pragma once

// Catch2 v2 has no notion of a skipped test. COHORT_SKIP_UNLESS returns from the test and records
// why, so that tests/run.sh counts it as skipped and not as passed. If the same test fails as well
// (in another section), it counts as failed.

#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {

/// Notes that the running test did not happen because `missing` was not there.
void record_skip(const std::string& missing);

/// For what kills or stops a process at a named place.
#ifdef COHORT_FAULT_POINTS
inline constexpr bool built_with_fault_points = true;
#else
inline constexpr bool built_with_fault_points = false;
#endif

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
#define COHORT_SKIP_WITHOUT_FAULT_POINTS()                                      \
    COHORT_SKIP_UNLESS(::cohort::test::built_with_fault_points, "a build with " \
                                                                "-Dfault_points=true")
