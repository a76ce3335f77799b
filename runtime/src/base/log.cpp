#include "cohort/base/log.hpp"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace cohort {
namespace {

constexpr std::array<std::string_view, 5> level_names{"debug", "info", "warning", "error", "off"};

std::mutex sink_mutex;

log_sink& sink()
{
    static log_sink instance;
    return instance;
}

log_level initial_level() noexcept
{
    auto level = log_level::warning;
    if (const char* text = std::getenv("COHORT_LOG"))
        static_cast<void>(parse_log_level(text, level));
    return level;
}

std::atomic<log_level>& threshold() noexcept
{
    static std::atomic<log_level> level{initial_level()};
    return level;
}

}  // namespace

void set_log_sink(log_sink new_sink)
{
    const std::lock_guard guard{sink_mutex};
    sink() = std::move(new_sink);
}

void set_log_level(log_level level) noexcept
{
    threshold().store(level, std::memory_order_relaxed);  // a setting, orders nothing
}

log_level current_log_level() noexcept
{
    return threshold().load(std::memory_order_relaxed);  // a setting, orders nothing
}

bool parse_log_level(std::string_view text, log_level& level) noexcept
{
    for (std::size_t i = 0; i != level_names.size(); ++i) {
        if (text == level_names[i]) {
            level = static_cast<log_level>(i);
            return true;
        }
    }
    return false;
}

void detail::write_log(log_level level, std::string_view line)
{
    const std::lock_guard guard{sink_mutex};
    if (sink()) {
        sink()(level, line);
        return;
    }
    fmt::print(stderr, "cohort {}: {}\n", level_names[static_cast<std::size_t>(level)], line);
}

}  // namespace cohort
