#include "support/child_process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <ostream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cohort::test {
namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

[[noreturn]] void fail(const std::string& what, int error = errno)
{
    throw std::system_error{error, std::generic_category(), what};
}

void close_once(int& fd) noexcept
{
    if (fd != -1)
        ::close(std::exchange(fd, -1));
}

// Both ends of a pipe, closed unless taken.
struct pipe_ends {
    int read = -1;
    int write = -1;

    pipe_ends()
    {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0)
            fail("pipe2");
        read = ends[0];
        write = ends[1];
    }
    ~pipe_ends()
    {
        close_once(read);
        close_once(write);
    }
    pipe_ends(const pipe_ends&) = delete;
    pipe_ends& operator=(const pipe_ends&) = delete;
};

std::string find_program(std::string_view name)
{
    namespace fs = std::filesystem;
    if (name.find('/') != std::string_view::npos)
        return std::string{name};

    const char* configured = std::getenv("COHORT_TEST_PROGRAMS_DIR");
    const fs::path home =
        configured != nullptr ? configured : fs::read_symlink("/proc/self/exe").parent_path();
    for (const char* place : {".", "../primary", "../secondary"}) {
        const fs::path candidate = home / place / name;
        if (fs::is_regular_file(candidate))
            return candidate.lexically_normal();
    }
    fail("no program " + std::string{name} + " for this test in " + home.string() +
             " (COHORT_TEST_PROGRAMS_DIR)",
         ENOENT);
}

// Our own environment with `changes` on top, as execve wants it.
std::vector<std::string> merged_environment(const std::vector<std::string>& changes)
{
    const auto same_name = [](const std::string& left, const std::string& right) {
        return left.compare(0, left.find('='), right, 0, right.find('=')) == 0;
    };

    std::vector<std::string> merged{changes};
    for (char** entry = environ; *entry != nullptr; ++entry) {
        bool replaced = false;
        for (const auto& change : changes)
            replaced = replaced || same_name(change, *entry);
        if (!replaced)
            merged.emplace_back(*entry);
    }
    return merged;
}

std::vector<char*> pointers(std::vector<std::string>& strings)
{
    std::vector<char*> result;
    for (auto& string : strings)
        result.push_back(string.data());
    result.push_back(nullptr);
    return result;
}

milliseconds left_until(clock::time_point deadline)
{
    const auto left = std::chrono::ceil<milliseconds>(deadline - clock::now());
    return std::max(left, milliseconds{0});
}

}  // namespace

std::string to_string(const exit_status& status)
{
    if (status.signal == 0)
        return "exit code " + std::to_string(status.code);
    return "signal " + std::to_string(status.signal) + " (" + ::strsignal(status.signal) + ")";
}

std::ostream& operator<<(std::ostream& out, const exit_status& status)
{
    return out << to_string(status);
}

std::string child_process::path_of(std::string_view program)
{
    return find_program(program);
}

child_process child_process::spawn(std::string_view program,
                                   const std::vector<std::string>& arguments,
                                   const std::vector<std::string>& environment,
                                   standard_error errors)
{
    // All that allocates happens before the fork.
    std::vector<std::string> words{find_program(program)};
    words.insert(words.end(), arguments.begin(), arguments.end());
    auto variables = merged_environment(environment);
    const auto argv = pointers(words);
    const auto envp = pointers(variables);

    std::array<int, 2> sockets{};  // a socket, so that writing to a dead child is no SIGPIPE
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0)
        fail("socketpair");
    child_process child;
    child.program_ = program;
    child.input_ = sockets[0];
    int child_input = sockets[1];
    pipe_ends output;
    pipe_ends failure;  // closed by a successful execve, else carries errno

    const pid_t parent = ::getpid();
    child.pid_ = ::fork();
    if (child.pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() == parent && ::dup2(child_input, STDIN_FILENO) != -1 &&
            ::dup2(output.write, STDOUT_FILENO) != -1 &&
            (errors == standard_error::ours || ::dup2(output.write, STDERR_FILENO) != -1))
            ::execve(argv[0], argv.data(), envp.data());
        const int error = errno;
        [[maybe_unused]] const auto told = ::write(failure.write, &error, sizeof error);
        ::_exit(127);
    }
    const int fork_error = errno;
    close_once(child_input);
    if (child.pid_ == -1)
        fail("fork for " + child.program_, fork_error);

    close_once(failure.write);
    int error = 0;
    if (::read(failure.read, &error, sizeof error) == sizeof error)
        fail("execve " + words[0], error);  // ~child_process reaps it

    child.pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, child.pid_, 0));
    if (child.pidfd_ == -1)
        fail("pidfd_open for " + child.program_);
    child.output_ = std::exchange(output.read, -1);
    ::fcntl(child.output_, F_SETFL, O_NONBLOCK);
    return child;
}

child_process::~child_process()
{
    if (pid_ > 0 && !status_) {
        ::kill(pid_, SIGKILL);
        while (::waitpid(pid_, nullptr, 0) == -1 && errno == EINTR) {}
    }
    close_once(input_);
    close_once(output_);
    close_once(pidfd_);
}

child_process::child_process(child_process&& other) noexcept
    : program_{std::move(other.program_)}
    , pid_{std::exchange(other.pid_, -1)}
    , pidfd_{std::exchange(other.pidfd_, -1)}
    , input_{std::exchange(other.input_, -1)}
    , output_{std::exchange(other.output_, -1)}
    , unread_{std::move(other.unread_)}
    , status_{other.status_}
{
}

// Waits until the child prints, closes its output or (if asked) dies. True if it is dead.
bool child_process::pump(milliseconds timeout, bool until_death)
{
    std::array<pollfd, 2> sources{
        pollfd{.fd = output_, .events = POLLIN, .revents = 0},
        pollfd{.fd = until_death ? pidfd_ : -1, .events = POLLIN, .revents = 0},
    };
    ::poll(sources.data(), sources.size(), static_cast<int>(timeout.count()));

    std::array<char, 4096> bytes;
    while (output_ != -1) {
        const auto count = ::read(output_, bytes.data(), bytes.size());
        if (count < 0)
            break;
        if (count == 0)
            close_once(output_);
        unread_.append(bytes.data(), static_cast<std::size_t>(count));
    }
    return sources[1].revents != 0;
}

std::optional<std::string> child_process::read_line(milliseconds timeout)
{
    const auto deadline = clock::now() + timeout;
    for (;;) {
        if (const auto end = unread_.find('\n'); end != std::string::npos) {
            auto line = unread_.substr(0, end);
            unread_.erase(0, end + 1);
            return line;
        }
        if (output_ == -1)
            return std::nullopt;
        const auto left = left_until(deadline);
        pump(left, false);
        if (left.count() == 0 && unread_.find('\n') == std::string::npos)
            return std::nullopt;
    }
}

void child_process::await(std::string_view line, milliseconds timeout)
{
    const auto deadline = clock::now() + timeout;
    std::string instead;
    while (const auto got = read_line(left_until(deadline))) {
        if (*got == line)
            return;
        instead += "\n  " + *got;
    }

    std::string ending = output_ == -1 ? "ended its output" : "is still running";
    if (const auto status = wait(output_ == -1 ? milliseconds{1000} : milliseconds{0}))
        ending = "ended with " + to_string(*status);
    throw std::runtime_error{program_ + " was to print \"" + std::string{line} + "\" within " +
                             std::to_string(timeout.count()) + " ms, but it " + ending +
                             (instead.empty() ? " and printed nothing" : " after" + instead)};
}

void child_process::tell(std::string_view line)
{
    const auto text = std::string{line} + "\n";
    [[maybe_unused]] const auto sent = ::send(input_, text.data(), text.size(), MSG_NOSIGNAL);
}

void child_process::kill(int signal) noexcept
{
    if (!status_)
        ::kill(pid_, signal);
}

bool child_process::await_death(milliseconds timeout)
{
    const auto deadline = clock::now() + timeout;
    while (!status_) {
        const auto left = left_until(deadline);
        if (pump(left, true))  // reads as well: a child that fills its pipe would never end
            return true;
        if (left.count() == 0)
            return false;
    }
    return true;
}

std::optional<exit_status> child_process::wait(milliseconds timeout)
{
    if (!status_) {
        if (!await_death(timeout))
            return std::nullopt;
        siginfo_t info{};
        if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0)
            fail("waitid for " + program_);
        status_ = info.si_code == CLD_EXITED ? exit_status{.code = info.si_status, .signal = 0}
                                             : exit_status{.code = 0, .signal = info.si_status};
    }
    return status_;
}

}  // namespace cohort::test
