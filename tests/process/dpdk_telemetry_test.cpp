// A DPDK process of the distribution and a domain of the same name, which is its file prefix: each
// keeps the telemetry socket that it has, whoever comes and goes.

#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/telemetry.hpp"
#include "process/living_domain.hpp"
#include "support/skip.hpp"

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace cohort::test {
namespace {

constexpr const char* dpdk_missing = "dpdk-testpmd and dpdk-telemetry.py (package dpdk-dev)";

/// A Python interpreter starts slowly when the machine is busy with other tests.
constexpr std::chrono::seconds script_patience{100};

bool dpdk_possible()
{
    if (!std::filesystem::exists("/usr/bin/dpdk-telemetry.py"))
        return false;
    for (const std::string program : {"dpdk-testpmd", "stdbuf"})
        if (std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) != 0)
            return false;
    return true;
}

/// A DPDK process without a device, whose telemetry is served.
child_process start_dpdk(const std::string& prefix)
{
    auto started = child_process::spawn(
        "/usr/bin/env", {"stdbuf", "-oL", "dpdk-testpmd", "--no-huge", "-m", "64", "--no-pci", "-l",
                         "0,1", "--file-prefix", prefix, "--", "-i", "--total-num-mbufs=2048"});
    started.await("Done", patience);
    return started;
}

/// The process that greets whoever connects there.
pid_t greeted_by(const std::string& path)
{
    const auto client = ipc::connect_to(path, deadline_in(patience));
    std::vector<std::byte> buffer(ipc::max_telemetry_bytes);
    REQUIRE(ipc::wait_readable(client.get(), deadline_in(patience)));
    const auto got = ipc::receive_message(client.get(), buffer);
    REQUIRE(got.status == ipc::received_message::status::message);
    const std::string text{reinterpret_cast<const char*>(buffer.data()), got.bytes};
    return nlohmann::json::parse(text).at("pid").get<pid_t>();
}

/// Whom dpdk-telemetry.py reaches as that instance of that file prefix; 0 when it says nobody.
pid_t answered_by(const std::string& prefix, int instance)
{
    auto client = child_process::spawn(
        "/usr/bin/dpdk-telemetry.py", {"-f", prefix, "-i", std::to_string(instance)},
        {"PATH=/usr/bin:/bin"});  // the distribution's interpreter, and no shim before it
    client.tell("/info");
    client.tell("quit");
    std::string said;
    while (const auto line = client.read_line(script_patience))
        said += *line + "\n";
    CHECK(client.wait(patience) == exit_status{});
    const auto answer = nlohmann::json::parse(said, nullptr, false);
    if (!answer.is_discarded())
        return answer.at("/info").at("pid").get<pid_t>();
    CHECK_THAT(said, Catch::StartsWith("Error connecting to"));
    return 0;
}

/// The process at the place of DPDK's first instance with that prefix: all clients see the same.
pid_t server_of(const std::string& prefix)
{
    const auto greeting = greeted_by(ipc::telemetry_path(prefix));
    CHECK(answered_by(prefix, 0) == greeting);
    return greeting;
}

/// What a cohortd that is asked for telemetry says until its domain is ready, itself included.
struct outspoken_primary {
    child_process process;
    std::vector<std::string> said;

    explicit outspoken_primary(const std::string& domain)
        : process{child_process::spawn(
              "cohortd", {"--domain", domain, "--memory", "8M", "--huge", "none", "--telemetry"},
              {}, standard_error::with_output)}
    {
        while (said.empty() || said.back().find("cohortd: domain") != 0) {
            const auto line = process.read_line(patience);
            REQUIRE(line);
            said.push_back(*line);
        }
    }
};

}  // namespace

TEST_CASE("a live DPDK process keeps its telemetry socket: primaries of that name start without "
          "one, say so in one line, and have the place once DPDK has died",
          "[queries][telemetry]")
{
    COHORT_SKIP_UNLESS(dpdk_possible(), dpdk_missing);
    const scratch_runtime_directory directory;
    auto dpdk = start_dpdk("edge");
    REQUIRE(server_of("edge") == dpdk.pid());

    for (const int end : {SIGTERM, SIGKILL}) {
        outspoken_primary primary{"edge"};
        REQUIRE(primary.said.size() == 2);
        CHECK_THAT(primary.said[0],
                   Catch::Contains("no telemetry for DPDK's clients: " +
                                   ipc::telemetry_path("edge") + " is somebody else's"));
        CHECK(server_of("edge") == dpdk.pid());

        primary.process.kill(end);
        REQUIRE(primary.process.wait(patience));
        CHECK(server_of("edge") == dpdk.pid());
    }

    dpdk.kill();  // leaves its socket as debris
    REQUIRE(dpdk.wait(patience));
    const auto next = start_cohortd("edge", {"--telemetry"});
    CHECK(server_of("edge") == next.pid());
}

TEST_CASE("a DPDK process that leaves makes room for a primary's telemetry, and one that comes to "
          "the debris of a killed primary keeps the place from the next",
          "[queries][telemetry]")
{
    COHORT_SKIP_UNLESS(dpdk_possible(), dpdk_missing);
    const scratch_runtime_directory directory;
    auto first = start_dpdk("edge");
    first.tell("quit");
    REQUIRE(first.wait(patience) == exit_status{});
    auto primary = start_cohortd("edge", {"--telemetry"});
    CHECK(server_of("edge") == primary.pid());

    primary.kill();
    REQUIRE(primary.wait(patience));
    const auto second = start_dpdk("edge");
    CHECK(server_of("edge") == second.pid());
    const outspoken_primary adopter{"edge"};
    CHECK(adopter.said.size() == 2);
    CHECK(server_of("edge") == second.pid());
}

TEST_CASE("a DPDK process that starts under the name of a domain with telemetry is reached beside "
          "it, also while primaries hand over and leave",
          "[queries][telemetry][handover]")
{
    COHORT_SKIP_UNLESS(dpdk_possible(), dpdk_missing);
    const scratch_runtime_directory directory;
    auto primary = start_cohortd("edge", {"--telemetry"});

    {
        auto leaves = start_dpdk("edge");
        CHECK(answered_by("edge", 1) == leaves.pid());
        leaves.tell("quit");
        REQUIRE(leaves.wait(patience) == exit_status{});
    }
    CHECK(server_of("edge") == primary.pid());
    const auto dpdk = start_dpdk("edge");
    CHECK(server_of("edge") == primary.pid());
    CHECK(answered_by("edge", 1) == dpdk.pid());

    auto successor = start_cohortd("edge", {"--telemetry", "--hand-over"});
    REQUIRE(primary.wait(patience) == exit_status{});
    CHECK(server_of("edge") == successor.pid());
    CHECK(answered_by("edge", 1) == dpdk.pid());

    successor.kill(SIGTERM);
    REQUIRE(successor.wait(patience) == exit_status{});
    CHECK(answered_by("edge", 0) == 0);
    CHECK(answered_by("edge", 1) == dpdk.pid());
}

}  // namespace cohort::test
