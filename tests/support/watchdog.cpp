#include "support/watchdog.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>

#include <unistd.h>

namespace cohort::test {
namespace {

// Composed before the timer starts: a signal handler may not format.
std::array<char, 512> sentence;
std::size_t sentence_bytes = 0;

extern "C" void on_alarm(int)
{
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, sentence.data(), sentence_bytes);
    ::signal(SIGABRT, SIG_DFL);  // Catch2's handler would take locks which a hung test may hold
    std::abort();
}

}  // namespace

std::chrono::seconds watchdog_limit()
{
    const char* text = std::getenv("COHORT_TEST_TIMEOUT");
    const long seconds = text == nullptr ? 0 : std::strtol(text, nullptr, 10);
    return std::chrono::seconds{seconds > 0 ? seconds : 120};
}

void start_watchdog(const std::string& test)
{
    const auto limit = watchdog_limit().count();
    const auto text = "\nwatchdog: the test \"" + test + "\" took longer than " +
                      std::to_string(limit) + " s (COHORT_TEST_TIMEOUT)\n";
    sentence_bytes = std::min(text.size(), sentence.size());
    std::copy_n(text.data(), sentence_bytes, sentence.data());

    struct sigaction action = {};
    action.sa_handler = on_alarm;
    ::sigaction(SIGALRM, &action, nullptr);
    ::alarm(static_cast<unsigned>(limit));
}

void stop_watchdog() noexcept
{
    ::alarm(0);
}

}  // namespace cohort::test
