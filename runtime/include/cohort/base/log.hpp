#pragma once
/// Logging: levels and one sink per process, both the user's to set.
///
/// The library logs what an operator wants to know later (a member died, what it held), and nothing
/// on a success path. Never used by code that may run inside a burst call.
///
/// *Thread safety*: all calls may run at any time in any thread.

#include <functional>
#include <string_view>

#include <fmt/format.h>

namespace cohort {

enum class log_level : int { debug, info, warning, error, off };

/// Receives one line without its line break. Must not throw.
using log_sink = std::function<void(log_level, std::string_view)>;

/// Replaces the sink; an empty one restores the default, which writes to standard error.
void set_log_sink(log_sink sink);

/// Lines below `level` are dropped before they are formatted. Default: warning, or $COHORT_LOG.
void set_log_level(log_level level) noexcept;
[[nodiscard]] log_level current_log_level() noexcept;

/// Accepts debug, info, warning, error, off.
[[nodiscard]] bool parse_log_level(std::string_view text, log_level& level) noexcept;

namespace detail {
void write_log(log_level level, std::string_view line);
}

template <typename... Args>
void log(log_level level, fmt::format_string<Args...> format, Args&&... args)
{
    if (level >= current_log_level())
        detail::write_log(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace cohort
