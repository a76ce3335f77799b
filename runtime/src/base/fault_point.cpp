#include "cohort/base/fault_point.hpp"

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string_view>

#include <unistd.h>

namespace cohort::detail {
namespace {

struct plan {
    std::string_view name;
    int passes = 1;  // act at this one
    int signal = SIGKILL;
    std::atomic<int> passed{0};
};

/// "name", "name:n" or "name:n:stop", cut off the front of `text` with its comma.
void read_plan(std::string_view& text, plan& into) noexcept
{
    const auto one = text.substr(0, text.find(','));
    text.remove_prefix(one.size() == text.size() ? one.size() : one.size() + 1);
    const auto colon = one.find(':');
    into.name = one.substr(0, colon);
    if (colon != std::string_view::npos)
        into.passes = std::atoi(one.data() + colon + 1);
    if (one.ends_with(":stop"))
        into.signal = SIGSTOP;
}

using plans = std::array<plan, 2>;

plans& read_plans() noexcept
{
    static plans wanted;
    if (const char* given = std::getenv("COHORT_FAULT")) {
        std::string_view text{given};
        for (auto& each : wanted)
            read_plan(text, each);
    }
    return wanted;
}

}  // namespace

void pass_fault_point(const char* name) noexcept
{
    static auto& all = read_plans();
    for (auto& each : all)
        if (!each.name.empty() && each.name == name &&
            each.passed.fetch_add(1, std::memory_order_relaxed) + 1 == each.passes)  // a count
            ::tgkill(::getpid(), ::gettid(), each.signal);  // of all threads, this stops here
}

}  // namespace cohort::detail
