#pragma once

// A program that is expected to be refused: how it ended, and what it said on standard error.

#include "cohort/base/error.hpp"
#include "support/child_process.hpp"
#include "support/scratch_directory.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace cohort::test {

/// The newcomer of these tests.
inline const std::string probe = "attach_probe_pie";
/// Nobody's user: not the one that runs the tests.
inline constexpr unsigned somebody_else = 65534;

/// A program on its way; what it writes to standard error is kept.
class attempt {
public:
    attempt(std::string_view program, const std::vector<std::string>& arguments,
            const std::vector<std::string>& environment = {})
        : errors_{directory_.path() / "stderr"}
        , child_{spawn(program, arguments, environment)}
    {
    }
    [[nodiscard]] child_process& child() noexcept { return child_; }

    struct result {
        exit_status status;  ///< signal 9 if it had to be killed because it went on
        std::string sentence;
        std::chrono::steady_clock::duration took{};
    };
    [[nodiscard]] result wait()
    {
        constexpr std::chrono::seconds limit{30};
        auto status = child_.wait(limit);
        if (!status) {
            child_.kill();
            status = child_.wait(limit);
        }
        std::ifstream file{errors_};
        return {status.value_or(exit_status{.code = -1, .signal = 0}),
                {std::istreambuf_iterator<char>{file}, {}},
                std::chrono::steady_clock::now() - started_};
    }

private:
    // Its standard error is this process's own at the time of the fork.
    [[nodiscard]] child_process spawn(std::string_view program,
                                      const std::vector<std::string>& arguments,
                                      const std::vector<std::string>& environment) const
    {
        const int before = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        const int file = ::open(errors_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (before == -1 || file == -1 || ::dup2(file, STDERR_FILENO) == -1)
            throw std::system_error{errno, std::generic_category(), "redirecting standard error"};
        auto started = child_process::spawn(program, arguments, environment);
        ::dup2(before, STDERR_FILENO);
        ::close(before);
        ::close(file);
        return started;
    }

    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    scratch_directory directory_;
    std::string errors_;
    child_process child_;
};

[[nodiscard]] inline attempt::result run(std::string_view program,
                                         const std::vector<std::string>& arguments,
                                         const std::vector<std::string>& environment = {})
{
    return attempt{program, arguments, environment}.wait();
}

/// The exit code is that of `code`; the one line it wrote names the facts in `says`.
inline void check_refused(const attempt::result& seen, errc code,
                          const std::vector<std::string>& says)
{
    INFO("it wrote: " << seen.sentence);
    INFO("it ended with " << to_string(seen.status));
    CHECK(seen.status == exit_status{.code = static_cast<int>(code), .signal = 0});
    CHECK(std::count(seen.sentence.begin(), seen.sentence.end(), '\n') == 1);
    CHECK(seen.sentence.find(": ") != std::string::npos);  // "cohortd: sentence"
    for (const auto& fact : says)
        CHECK_THAT(seen.sentence, Catch::Contains(fact));
}

/// A lower soft limit for this process, and so for children spawned meanwhile.
class lowered_limit {
public:
    lowered_limit(__rlimit_resource kind, rlim_t soft) : kind_{kind}
    {
        ::getrlimit(kind_, &before_);
        const rlimit lower{.rlim_cur = soft, .rlim_max = before_.rlim_max};
        ::setrlimit(kind_, &lower);
    }
    ~lowered_limit() { ::setrlimit(kind_, &before_); }
    lowered_limit(const lowered_limit&) = delete;
    lowered_limit& operator=(const lowered_limit&) = delete;

private:
    __rlimit_resource kind_;
    rlimit before_{};
};

}  // namespace cohort::test
