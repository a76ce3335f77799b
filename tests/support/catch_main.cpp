// The main program of every suite. It prints the seed, guards each test with the watchdog and, if
// COHORT_TEST_RESULTS names a file, writes there what became of each test, line by line, so that
// tests/run.sh counts correctly even if the process dies half-way:
//
//     started NAME
//     passed NAME | failed NAME | skipped NAME: MISSING
//     finished

#define CATCH_CONFIG_RUNNER
#include "support/seed.hpp"
#include "support/skip.hpp"
#include "support/watchdog.hpp"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

std::string missing_in_this_test;

void record(const std::string& line)
{
    if (const char* file = std::getenv("COHORT_TEST_RESULTS"))
        std::ofstream{file, std::ios::app} << line + "\n" << std::flush;
}

class recorder : public Catch::TestEventListenerBase {
public:
    using TestEventListenerBase::TestEventListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo& test) override
    {
        missing_in_this_test.clear();
        record("started " + test.name);
        start_watchdog(test.name);
    }

    void testCaseEnded(const Catch::TestCaseStats& stats) override
    {
        stop_watchdog();
        const auto& name = stats.testInfo.name;
        if (stats.totals.testCases.failed != 0)
            record("failed " + name);
        else if (!missing_in_this_test.empty())
            record("skipped " + name + ": " + missing_in_this_test);
        else
            record("passed " + name);
    }

    void testRunEnded(const Catch::TestRunStats&) override { record("finished"); }
};

CATCH_REGISTER_LISTENER(recorder)

}  // namespace

void record_skip(const std::string& missing)
{
    missing_in_this_test = missing;
    std::cerr << "skipped, missing: " << missing << '\n';
}

}  // namespace cohort::test

int main(int argc, char* argv[])
{
    const auto seed = cohort::test::seed();
    ::setenv("COHORT_TEST_SEED", std::to_string(seed).c_str(), 1);

    Catch::Session session;
    session.configData().rngSeed = seed;
    if (const int error = session.applyCommandLine(argc, argv); error != 0)
        return 2;
    std::cout << "COHORT_TEST_SEED=" << seed << std::endl;

    // Catch2 returns the number of failures, which could look like a signal or a timeout.
    return session.run() == 0 ? 0 : 1;
}
