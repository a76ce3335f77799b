#pragma once

// A helper program run by a test, talked to by lines and killed at scope exit.
//
// A program without a slash in its name is looked for in $COHORT_TEST_PROGRAMS_DIR, or else beside
// the test's own executable; then in ../primary and ../secondary of that, where the build puts
// cohortd and cohort.
//
// *Thread safety*: one thread at a time. The child is killed (SIGKILL) when the thread that spawned
// it ends, so spawn from a thread that outlives the child: usually the test's own.

#include <chrono>
#include <csignal>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace cohort::test {

/// How a child ended: by `exit(code)` if `signal` is 0, else by that signal.
struct exit_status {
    int code = 0;
    int signal = 0;

    friend bool operator==(const exit_status&, const exit_status&) = default;
};

/// "exit code 1", "signal 9 (Killed)".
[[nodiscard]] std::string to_string(const exit_status& status);

/// As to_string: so that a failed check says how a child ended.
std::ostream& operator<<(std::ostream& out, const exit_status& status);

/// Where a child's standard error goes.
enum class standard_error { ours, with_output };

class child_process {
public:
    using milliseconds = std::chrono::milliseconds;

    /// Starts `program`. `environment` holds NAME=value strings on top of this process's own.
    /// Throws std::system_error if there is no such program.
    [[nodiscard]] static child_process spawn(std::string_view program,
                                             const std::vector<std::string>& arguments = {},
                                             const std::vector<std::string>& environment = {},
                                             standard_error errors = standard_error::ours);

    /// Where `program` is. Throws as `spawn`.
    [[nodiscard]] static std::string path_of(std::string_view program);

    ~child_process();
    child_process(child_process&& other) noexcept;
    child_process(const child_process&) = delete;
    child_process& operator=(const child_process&) = delete;
    child_process& operator=(child_process&&) = delete;

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

    /// The next line of its standard output without the newline; nothing at its end or after
    /// `timeout`.
    [[nodiscard]] std::optional<std::string> read_line(milliseconds timeout);

    /// Reads up to and including `line`. Throws, and so fails the test, with what came instead.
    void await(std::string_view line, milliseconds timeout);

    /// Writes one line to its standard input. A child that is gone does not mind.
    void tell(std::string_view line);

    /// Sends a signal. A child that is gone does not mind. Its status stays to be read with `wait`.
    void kill(int signal = SIGKILL) noexcept;

    /// Waits for its death without reaping it: it stays a zombie. False after `timeout`.
    [[nodiscard]] bool await_death(milliseconds timeout);

    /// Waits for its death and reaps it; asked again, answers the same. Nothing after `timeout`.
    [[nodiscard]] std::optional<exit_status> wait(milliseconds timeout);

private:
    child_process() = default;

    bool pump(milliseconds timeout, bool until_death);

    std::string program_;
    pid_t pid_ = -1;
    int pidfd_ = -1;
    int input_ = -1;   // the child's standard input, our end
    int output_ = -1;  // the child's standard output, our end; -1 once it has ended
    std::string unread_;
    std::optional<exit_status> status_;
};

}  // namespace cohort::test
