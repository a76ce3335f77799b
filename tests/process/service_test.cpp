// cohortd under a service manager, which is played by the test.

#include "process/living_domain.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <cstring>
#include <string>

#include <catch2/catch.hpp>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace cohort::test {
namespace {

/// The socket of a service manager.
class manager_socket {
public:
    /// "@name": in the abstract name space.
    explicit manager_socket(std::string path)
        : path_{std::move(path)}
        , socket_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)}
    {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path_.data(), path_.size());
        if (path_.front() == '@')
            address.sun_path[0] = '\0';
        const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
        REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), bytes) == 0);
    }
    [[nodiscard]] std::vector<std::string> environment(const std::string& watchdog_us = {}) const
    {
        std::vector<std::string> all{"NOTIFY_SOCKET=" + path_};
        if (!watchdog_us.empty())
            all.push_back("WATCHDOG_USEC=" + watchdog_us);
        return all;
    }
    /// What came next; empty after `limit`.
    [[nodiscard]] std::string hear(std::chrono::milliseconds limit = patience) const
    {
        pollfd waited{socket_.get(), POLLIN, 0};
        if (::poll(&waited, 1, static_cast<int>(limit.count())) != 1)
            return {};
        char text[1024];
        const auto got = ::recv(socket_.get(), text, sizeof text, 0);
        return {text, got > 0 ? static_cast<std::size_t>(got) : 0};
    }

private:
    std::string path_;
    file_descriptor socket_;
};

child_process start(const manager_socket& manager, const std::string& watchdog_us = {},
                    std::vector<std::string> more = {})
{
    more.insert(more.begin(), {"--domain", "service", "--memory", "8M", "--huge", "none"});
    return child_process::spawn("cohortd", more, manager.environment(watchdog_us));
}

}  // namespace

TEST_CASE("cohortd tells its service manager when it is ready, that it lives, and when it ends",
          "[service]")
{
    const scratch_runtime_directory directory;
    const auto abstract = GENERATE(false, true);
    const manager_socket manager{abstract ? "@cohort-test-" + std::to_string(::getpid())
                                          : (directory.path() / "notify").string()};

    auto daemon = start(manager, "600000");

    const auto ready = manager.hear();
    CHECK_THAT(ready, Catch::StartsWith("READY=1\n") &&
                          Catch::Contains("MAINPID=" + std::to_string(daemon.pid())));
    CHECK(secondary::primary_alive("service"));  // not before it is true
    CHECK(manager.hear() == "WATCHDOG=1");
    CHECK(manager.hear() == "WATCHDOG=1");
    daemon.kill(SIGTERM);
    std::string last;
    while ((last = manager.hear()) == "WATCHDOG=1")
        continue;
    CHECK(last == "STOPPING=1");
    CHECK(daemon.wait(patience) == exit_status{});
}

TEST_CASE("a cohortd that is stopped misses its watchdog, and the next one adopts", "[service]")
{
    const scratch_runtime_directory directory;
    const manager_socket manager{(directory.path() / "notify").string()};
    auto daemon = start(manager, "600000");
    REQUIRE_THAT(manager.hear(), Catch::StartsWith("READY=1"));
    const auto member = secondary::attach("service", patience, "member");
    stop(daemon);
    while (!manager.hear(std::chrono::milliseconds{0}).empty())
        continue;

    CHECK(manager.hear(std::chrono::milliseconds{700}).empty());  // the manager's allowance
    daemon.kill(SIGKILL);
    REQUIRE(daemon.wait(patience));
    auto next = start(manager, "600000", {"--auto"});

    CHECK_THAT(manager.hear(), Catch::Contains("READY=1") && Catch::Contains("adopted"));
    CHECK(member->primary_alive());
}

TEST_CASE("cohortd does not mind a service manager that is gone, or none", "[service]")
{
    const scratch_runtime_directory directory;
    for (const std::string path : {"/nowhere/at/all", "relative", "", "@"}) {
        INFO(path);
        auto daemon = child_process::spawn(
            "cohortd", {"--domain", "service", "--memory", "8M", "--huge", "none"},
            {"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=nonsense"});
        REQUIRE(daemon.read_line(patience));
        daemon.kill(SIGTERM);
        CHECK(daemon.wait(patience) == exit_status{});
    }
}

}  // namespace cohort::test
