// A million numbered frames each way (in full runs) through an interface that one to three
// processes serve, one of which is killed every second.

#include "process/mover_stand.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"

#include <chrono>
#include <cstddef>
#include <iostream>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

using namespace std::chrono_literals;

struct served_interface {
    std::string driver;  ///< and its options but for the queues
    const char* far;     ///< where the kernel's end is
    /// Of each kill, in each direction: frames that only the port's counters tell of, at most.
    std::size_t in_doubt;
};

/// A cable with so many queues at each end, "left" for the members and "right" for the kernel.
void lay_cable(std::size_t count)
{
    const auto queues =
        " numtxqueues " + std::to_string(count) + " numrxqueues " + std::to_string(count) + " ";
    scratch_network::run("ip link add left" + queues + "type veth peer name right" + queues);
    scratch_network::run("ip link set left addrgenmode none && ip link set right addrgenmode none");
    scratch_network::run("ip link set left up && ip link set right up");
}

void check_with_kills(const served_interface& what, std::size_t processes)
{
    CAPTURE(what.driver, processes);
    const std::size_t all = scaled(3'000, 1'000'000);
    mover_stand stand{{.domain = "kills", .memory = 96_MiB, .count = 8'192}};
    lay_cable(processes);
    stand.spawn(0, "create", what.driver + ",queues=" + std::to_string(processes));
    for (std::size_t queue = 1; queue != processes; ++queue)
        stand.spawn(queue, "both");
    two_way_traffic traffic{
        stand, what.far, {.all = all, .most_at_once = 200, .kind = flow_frames}};

    const auto pause = full_scale() ? 1s : 0s;
    const auto part = full_scale() ? 1 : all / 6;
    std::size_t kills = 0;
    for (;; ++kills) {
        const auto next = std::chrono::steady_clock::now() + pause;
        const auto from = traffic.progress();
        const bool moved = traffic.step_until([&] {
            return traffic.is_complete() ||
                   (std::chrono::steady_clock::now() >= next && traffic.progress() >= from + part);
        });
        INFO(traffic.describe());
        REQUIRE(moved);
        if (traffic.is_complete())
            break;
        stand.kill(kills % processes);
        stand.spawn(kills % processes, "both");
    }

    CHECK(kills != 0);
    traffic.check(kills * what.in_doubt);
    for (std::uint16_t queue = 0; queue != processes; ++queue)
        CHECK(traffic.wire().rx_stats(queue).packets + traffic.wire().tx_stats(queue).packets != 0);
    for (std::size_t queue = 0; queue != processes; ++queue)
        stand.kill(queue);
    // A frame in doubt that did arrive stood for one that was still on its way.
    std::size_t late = 0;
    CHECK(eventually([&] {
        late += stand.drop_waiting();
        return stand.is_at_rest();
    }));
    CHECK(late <= traffic.wire().tx_stats().errors);
    std::cout << what.driver << ", processes: " << processes << ": " << all << " frames each way, "
              << kills << " kills, " << traffic.wire().rx_stats().missed << " counted as missed, "
              << traffic.wire().tx_stats().errors << " sent in doubt\n";
}

}  // namespace

TEST_CASE("one to three processes at an af_packet interface, of which one is killed every second, "
          "lose and double nothing",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    check_with_kills({"af_packet:iface=left,promiscuous=1", "right", 0}, GENERATE(1u, 2u, 3u));
}

TEST_CASE("one to three processes at a tap interface, of which one is killed every second, lose "
          "nothing uncounted and double nothing",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    check_with_kills({"tap:iface=tap", "tap", 1}, GENERATE(1u, 2u, 3u));
}

TEST_CASE("one to three processes at an AF_XDP interface, of which one is killed every second, "
          "lose and double nothing",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    check_with_kills({"af_xdp:iface=left,mode=native", "right", 0}, GENERATE(1u, 2u, 3u));
}

}  // namespace cohort::test
