#pragma once

// Aborts a test process that hangs and says which test it was. catch_main starts it for every test
// case, so no test needs to think of it.
//
// It is a SIGALRM timer, not a thread: tests that fork, count threads or hand out lanes see no
// stranger, and a forked child inherits no timer. A test that uses alarm(2) itself loses its
// watchdog.

#include <chrono>
#include <string>

namespace cohort::test {

/// Seconds one test case may take: COHORT_TEST_TIMEOUT, else 120.
[[nodiscard]] std::chrono::seconds watchdog_limit();

/// Aborts the process unless `stop_watchdog` is called within `watchdog_limit()`.
void start_watchdog(const std::string& test);

void stop_watchdog() noexcept;

}  // namespace cohort::test
