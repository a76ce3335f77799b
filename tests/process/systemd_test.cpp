// cohortd and its unit under systemd itself, which is process 1 of namespaces made for it.

#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/skip.hpp"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <catch2/catch.hpp>

#include <unistd.h>

namespace cohort::test {
namespace {

using namespace std::chrono_literals;

const std::string service = "cohortd@spine";

std::string build()
{
    return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

bool systemd_possible()
{
    return ::geteuid() == 0 && std::filesystem::exists("/lib/systemd/systemd") &&
           std::system("(command -v setpriv && command -v unshare) >/dev/null 2>&1") == 0;
}

/// See programs/under_systemd.sh.
class service_manager {
public:
    service_manager()
        : script_{child_process::spawn(COHORT_SOURCE_ROOT
                                       "/tests/process/programs/under_systemd.sh",
                                       {build() + "/primary"})}
    {
    }
    /// False without the rights to make all that.
    [[nodiscard]] bool comes_up()
    {
        const auto line = script_.read_line(60s);
        if (!line && script_.wait(60s) == exit_status{.code = 77})
            return false;
        REQUIRE(line == "ready");
        return true;
    }
    /// What a command says; the last line is its exit code.
    std::string run(const std::string& command)
    {
        script_.tell(command);
        std::string said;
        while (const auto line = script_.read_line(60s)) {
            if (line->starts_with("ended "))
                return said + line->substr(6);
            said += *line + '\n';
        }
        throw std::runtime_error{"systemd ended in \"" + command + "\": " + said};
    }
    [[nodiscard]] std::string property(const std::string& name)
    {
        const auto answer = run("systemctl show --property=" + name + " --value " + service);
        return answer.substr(0, answer.find('\n'));
    }
    /// Started for the `times`th time, and ready.
    [[nodiscard]] bool restarted(int times)
    {
        return eventually(
            [&] {
                return property("NRestarts") == std::to_string(times) &&
                       property("ActiveState") == "active";
            },
            60s);
    }
    /// Ends with it.
    bool end()
    {
        script_.tell("systemctl --force exit");
        return script_.wait(60s) == exit_status{};
    }

private:
    child_process script_;
};

}  // namespace

TEST_CASE(
    "under systemd the unit is ready with its domain, and killed or hung it is followed by one "
    "that adopts the members",
    "[service][systemd]")
{
    COHORT_SKIP_UNLESS(systemd_possible(), "root, systemd, setpriv and unshare");
    service_manager manager;
    COHORT_SKIP_UNLESS(manager.comes_up(), "the right to make namespaces and a control group");
    REQUIRE(manager.run("echo 'COHORTD_OPTIONS=--memory 8M --huge none --telemetry' "
                        ">/etc/default/cohortd-spine && "
                        "mkdir /run/units/cohortd@.service.d && "
                        "printf '[Service]\\nWatchdogSec=1\\n' "
                        ">/run/units/cohortd@.service.d/soon.conf") == "0");
    const auto members = build() + "/secondary/cohort ps --domain spine";

    CHECK(manager.run("systemctl start " + service) == "0");  // returns when cohortd is ready
    CHECK_THAT(manager.run(members), Catch::Contains("cohortd  primary  live"));
    CHECK(manager.run("test -S /var/run/dpdk/spine/dpdk_telemetry.v2") == "0");
    REQUIRE(manager.run("chmod 750 /run/dpdk") == "0");
    REQUIRE(manager.run("sleep 1000 | " + build() + "/tests/member spine one >/run/one &") == "0");
    REQUIRE(eventually([&] { return manager.run(members).find("one") != std::string::npos; }));

    manager.run("kill -KILL $(systemctl show --property=MainPID --value " + service + ")");
    CHECK(manager.restarted(1));
    CHECK_THAT(manager.property("StatusText"), Catch::Contains("adopted"));
    CHECK_THAT(manager.run(members), Catch::Contains("one      secondary  live"));

    manager.run("kill -STOP $(systemctl show --property=MainPID --value " + service + ")");
    CHECK(manager.restarted(2));
    CHECK_THAT(manager.run(members), Catch::Contains("one      secondary  live"));

    CHECK(manager.run("stat --format=%a /run/dpdk") == "750\n0");  // as others want it
    CHECK(manager.run("test -S /var/run/dpdk/spine/dpdk_telemetry.v2") == "0");
    CHECK(manager.run("systemctl stop " + service) == "0");
    CHECK(manager.property("Result") == "success");
    CHECK(manager.end());
}

}  // namespace cohort::test
