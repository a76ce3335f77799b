#include "top.hpp"

#include "activity.hpp"
#include "cohort/base/clock.hpp"

#include <cstdio>
#include <optional>

#include <fmt/format.h>

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace cohort::tool {
namespace {

/// Keys come at once and without echo; as it was at scope exit.
class raw_keys {
public:
    raw_keys()
    {
        if (::tcgetattr(STDIN_FILENO, &before_) != 0)
            return;
        auto raw = before_;
        raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
        changed_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    ~raw_keys()
    {
        if (changed_)
            ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    }
    raw_keys(const raw_keys&) = delete;
    raw_keys& operator=(const raw_keys&) = delete;

    /// False when q was pressed before the deadline.
    [[nodiscard]] bool go_on_at(deadline until) const
    {
        while (const int left = milliseconds_left(until)) {
            pollfd input{STDIN_FILENO, POLLIN, 0};
            if (::poll(&input, changed_ ? 1u : 0u, left) <= 0)
                continue;
            char key = 0;
            if (::read(STDIN_FILENO, &key, 1) == 1 && (key == 'q' || key == 'Q'))
                return false;
        }
        return true;
    }

private:
    termios before_{};
    bool changed_ = false;
};

/// The other screen of the terminal, and back at scope exit.
class full_screen {
public:
    full_screen() { fmt::print("\x1b[?1049h\x1b[?25l"); }
    ~full_screen()
    {
        fmt::print("\x1b[?25h\x1b[?1049l");
        std::fflush(stdout);
    }
    full_screen(const full_screen&) = delete;
    full_screen& operator=(const full_screen&) = delete;
};

winsize window()
{
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        return {.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
    return size;
}

void draw(const std::string& domain, const nlohmann::json& activity)
{
    const auto size = window();
    std::string text = "\x1b[H";
    bool first = true;
    for (const auto& line : screen_of(domain, activity, size.ws_col, size.ws_row)) {
        text += (first ? "" : "\r\n") + line + "\x1b[K";
        first = false;
    }
    fmt::print("{}\x1b[J", text);
}

void print(const top_options& options, const nlohmann::json& activity)
{
    if (options.json) {
        fmt::print("{}\n", activity.dump());
        return;
    }
    constexpr std::size_t all = 10'000;
    for (const auto& line : screen_of(options.domain, activity, 80, all))
        fmt::print("{}\n", line);
    fmt::print("\n");
}

}  // namespace

void show_top(const secondary::observer& seen, const top_options& options)
{
    const bool drawn = !options.json && options.rounds == 0 && ::isatty(STDOUT_FILENO) == 1;
    const raw_keys keys;
    std::optional<full_screen> screen;
    if (drawn)
        screen.emplace();
    auto before = take_snapshot(seen.region());
    for (unsigned round = 1;; ++round) {
        if (!keys.go_on_at(deadline_in(options.interval)))
            return;
        auto now = take_snapshot(seen.region());
        const auto activity = activity_between(before, now);
        if (drawn)
            draw(options.domain, activity);
        else
            print(options, activity);
        std::fflush(stdout);
        if (round == options.rounds || now.members == 0)
            return;
        before = std::move(now);
    }
}

}  // namespace cohort::tool
