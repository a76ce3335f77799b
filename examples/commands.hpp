#pragma once
/// The command line of the small examples, PROGRAM DOMAIN COMMAND [WORD]...: each command runs as a
/// member of the domain, named after it.

#include "cohort/base/error.hpp"
#include "cohort/secondary/secondary.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace example {

using arguments = std::span<const std::string>;

struct command {
    std::string_view name;
    std::string_view words;  ///< that must follow, by name: "FROM TO"
    void (*run)(cohort::domain&, arguments);

    [[nodiscard]] std::size_t count() const
    {
        return words.empty() ? 0u : 1u + static_cast<std::size_t>(std::ranges::count(words, ' '));
    }
};

/// Set by SIGTERM and SIGINT.
inline std::atomic<bool> stop{false};

[[nodiscard]] inline bool stopped() noexcept
{
    return stop.load(std::memory_order_relaxed);  // a flag, orders nothing
}

[[noreturn]] inline void throw_missing(std::string_view program, std::string_view what)
{
    throw cohort::error{cohort::errc::not_found,
                        fmt::format("there is no {}; call {} make first", what, program)};
}

/// What was found; else an error says which command makes it.
template <typename T>
T existing(std::string_view program, std::optional<T> found, std::string_view what)
{
    if (!found)
        throw_missing(program, what);
    return std::move(*found);
}
template <typename T>
T& existing(std::string_view program, T* found, std::string_view what)
{
    if (!found)
        throw_missing(program, what);
    return *found;
}

inline int refuse(std::string_view program, std::span<const command> commands)
{
    const char* before = "Usage:";
    for (const auto& each : commands) {
        fmt::print(stderr, "{} {} DOMAIN {}{}{}\n", before, program, each.name,
                   each.words.empty() ? "" : " ", each.words);
        before = "      ";
    }
    return 2;
}

/// The exit code of `main`.
inline int run(std::string_view program, std::span<const command> commands, int argc, char** argv)
{
    const std::vector<std::string> words(argv + 1, argv + argc);
    const auto chosen = std::ranges::find_if(commands, [&](const command& each) {
        return words.size() == each.count() + 2 && words[1] == each.name;
    });
    if (chosen == commands.end())
        return refuse(program, commands);
    std::signal(SIGTERM, [](int) { stop = true; });
    std::signal(SIGINT, [](int) { stop = true; });
    try {
        using namespace std::chrono_literals;
        const auto domain = cohort::secondary::attach(words[0], 10s, words[1]);
        chosen->run(*domain, std::span{words}.subspan(2));
        return 0;
    } catch (const cohort::error& failure) {
        fmt::print(stderr, "{}: {}\n", program, failure.what());
        return failure.exit_code();
    }
}

}  // namespace example
