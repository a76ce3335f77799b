// A process is killed at each fault point of a burst at an interface of the kernel: another one
// carries on, and each packet comes once, or is counted.

#include "fault/faulty_domain.hpp"
#include "fault/sweep.hpp"
#include "support/scratch_network.hpp"
#include "support/skip.hpp"

#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// One that dies while it posts buffers to a socket, and then its successor.
std::optional<exit_status> kill_who_takes_over(const std::string& fault)
{
    const scratch_network network;
    faulty_domain domain;
    domain.bring_to_life();
    const auto first = domain.spawn({"xdp"}, "af_xdp.tagged:2").wait(patience);
    CHECK(first == exit_status{.code = 0, .signal = SIGKILL});
    const auto ended = domain.spawn({"xdp"}, fault).wait(patience);
    if (ended != exit_status{})
        CHECK(domain.spawn({"xdp"}).wait(patience) == exit_status{});
    domain.check_survivors();
    return ended;
}

/// Both ends of the cable outlive the process that made the ports.
std::optional<exit_status> kill_on_the_cable(const std::vector<std::string>& scenario,
                                             const std::string& fault)
{
    const scratch_network network;
    faulty_domain domain;
    domain.bring_to_life();
    const auto ended = domain.spawn(scenario, fault).wait(patience);
    if (ended != exit_status{})
        CHECK(domain.spawn(scenario).wait(patience) == exit_status{});
    domain.check_survivors();
    return ended;
}

}  // namespace

TEST_CASE("a member killed at an interface loses no packet and doubles none", "[fault][af_packet]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    sweep(
        "interface",
        [](const std::string& fault) { return kill_on_the_cable({"interface"}, fault); }, 3);
}

TEST_CASE("a member killed at a tap interface doubles no packet and loses none uncounted",
          "[fault][tap]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    const std::string header = GENERATE("", ",offload=1");
    sweep(
        "tap",
        [&](const std::string& fault) {
            return kill_on_the_cable({"tap", header}, fault);
        },
        3);
}

TEST_CASE("a member killed at a pcap port at an interface doubles no packet and leaks no buffer",
          "[fault][pcap]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    sweep(
        "pcap", [](const std::string& fault) { return kill_on_the_cable({"pcap"}, fault); }, 3);
}

TEST_CASE("a member killed at an AF_XDP socket loses no packet and no buffer, and doubles none",
          "[fault][af_xdp]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    sweep(
        "xdp", [](const std::string& fault) { return kill_on_the_cable({"xdp"}, fault); }, 3);
    sweep("xdp take over", kill_who_takes_over, 2);
}

}  // namespace cohort::test
