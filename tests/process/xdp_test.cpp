// An interface that several members serve by AF_XDP sockets over the memory of one pool: numbered
// frames both ways over a cable, while the processes at it are killed, the creator first.

#include "cohort/base/error.hpp"
#include "process/mover_stand.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"

#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr mover_stand::options xdp_stand{.domain = "xdp", .memory = 64_MiB, .count = 4096};
/// A cable with two queues at each end, "left" for the members and "right" for the kernel.
void lay_wide_cable()
{
    scratch_network::run("ip link add left numtxqueues 2 numrxqueues 2 type veth peer name right "
                         "numtxqueues 2 numrxqueues 2");
    scratch_network::run("ip link set left addrgenmode none && ip link set right addrgenmode none");
    scratch_network::run("ip link set left up && ip link set right up");
}

bool has_program(const std::string& interface)
{
    return std::system(("ip link show dev " + interface + " | grep -q xdp").c_str()) == 0;
}

/// All that was sent has come, and the port has counted it so.
void check_exact(const two_way_traffic& traffic)
{
    traffic.check(0);
    const auto received = traffic.wire().rx_stats();
    const auto sent = traffic.wire().tx_stats();
    CHECK(received.errors == 0);
    CHECK(received.packets == traffic.sent_to_port());
    CHECK(sent.packets == traffic.sent_by_port());
}

}  // namespace

TEST_CASE("who serves an AF_XDP socket is killed, its creator first, and no frame is lost, doubled "
          "or damaged in either direction",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    const std::string mode = GENERATE(as<std::string>{}, "skb", "native");
    const std::size_t all = scaled(3'000, 500'000);
    mover_stand stand{xdp_stand};
    stand.spawn(0, "create", "af_xdp:iface=near,mode=" + mode);
    two_way_traffic traffic{stand, "far", {.all = all, .most_at_once = 200}};

    traffic.kill_on_the_way(5);

    CHECK(traffic.step_until([&] { return traffic.progress() == all; }));
    stand.kill(0);
    CHECK(eventually([&] { return stand.is_at_rest(); }));
    check_exact(traffic);
    CHECK(stand.domain().destroy_port("wire"));
    CHECK(stand.is_empty());
    CHECK_FALSE(has_program("near"));
}

TEST_CASE("of two members at two AF_XDP sockets the creator is killed: the other's goes on, and a "
          "third takes over the dead one's",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    const std::size_t some = scaled(100, 50'000);
    mover_stand stand{xdp_stand};
    lay_wide_cable();
    stand.spawn(0, "create", "af_xdp:iface=left,queues=2,mode=native");
    stand.spawn(1, "both");
    two_way_traffic traffic{
        stand, "right", {.all = 10'000'000, .most_at_once = 200, .kind = flow_frames}};
    const auto& wire = traffic.wire();
    REQUIRE(traffic.step_until(traffic.moved(0, some)));
    REQUIRE(traffic.step_until(traffic.moved(1, some)));

    stand.kill(0);
    REQUIRE(traffic.step_until(
        [&, tx = wire.tx_stats(1).packets + some] { return wire.tx_stats(1).packets >= tx; }));
    stand.spawn(0, "both");
    CHECK(traffic.step_until(traffic.moved(0, some)));
    CHECK(traffic.step_until(traffic.moved(1, some)));

    CHECK(traffic.finish());
    stand.kill(0);
    stand.kill(1);
    CHECK(eventually([&] { return stand.is_at_rest(); }));
    check_exact(traffic);
}

TEST_CASE("the program at an interface goes with the last process that has the port, however that "
          "one ends",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    check_gone_with_the_last("af_xdp:iface=near", [] { return has_program("near"); });
}

TEST_CASE("an AF_XDP port that others have open is destroyed: what the kernel had is in the pool "
          "again, and each handle that is polled lets go of the queue",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    mover_stand stand{xdp_stand};
    stand.spawn(0, "create", "af_xdp:iface=near");
    auto idle = stand.domain().find_port("wire").value();
    CHECK_THROWS_AS(stand.domain().destroy_mempool("packets"), error);

    REQUIRE(stand.domain().destroy_port("wire"));

    CHECK(stand.is_empty());
    CHECK_FALSE(has_program("near"));
    const auto make_next = [&] {
        stand.domain().create_port("wire", "af_xdp:iface=near", {.rx_pool = "packets"});
    };
    try {
        make_next();
        FAIL("the kernel gave a queue to two sockets");
    } catch (const error& refused) {
        CHECK(refused.reason() == errc::in_use);
        CHECK_THAT(refused.what(), Catch::Contains("handle that it does not poll"));
    }
    CHECK(idle.rx_burst(0, {}) == 0);
    CHECK(idle.find_fault() == nullptr);
    CHECK(eventually([&] {
        try {
            make_next();
            return true;
        } catch (const error&) {
            return false;  // the other member has not come to its next burst yet
        }
    }));
    CHECK(stand.domain().destroy_port("wire"));
    CHECK(stand.domain().destroy_mempool("packets"));
}

}  // namespace cohort::test
