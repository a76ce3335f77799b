// What a packet socket is told when it is made.

#include "runtime/drivers/af_packet/packet_socket.hpp"

#include "support/scratch_network.hpp"
#include "support/skip.hpp"

#include <catch2/catch.hpp>

#include <linux/net_tstamp.h>
#include <net/if.h>
#include <sys/socket.h>

namespace cohort::test {

TEST_CASE("a packet socket has the clock that was asked for", "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const scratch_network network;
    auto shape = detail::ring_shape::for_mtu(1500);
    shape.rx_frames = shape.tx_frames = 128;
    for (const bool hardware : {false, true}) {
        const auto socket = detail::make_packet_socket(
            {.interface_index = static_cast<int>(::if_nametoindex("near")),
             .hardware_time = hardware},
            shape);
        int clock = -1;
        socklen_t length = sizeof clock;
        REQUIRE(::getsockopt(socket.get(), SOL_PACKET, PACKET_TIMESTAMP, &clock, &length) == 0);
        CHECK(clock == (hardware ? SOF_TIMESTAMPING_RAW_HARDWARE : 0));
    }
}

TEST_CASE("a packet socket goes past the queueing discipline when that is asked for",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const scratch_network network;
    auto shape = detail::ring_shape::for_mtu(1500);
    shape.rx_frames = shape.tx_frames = 128;
    for (const bool bypass : {false, true}) {
        const auto socket = detail::make_packet_socket(
            {.interface_index = static_cast<int>(::if_nametoindex("near")), .qdisc_bypass = bypass},
            shape);
        int told = -1;
        socklen_t length = sizeof told;
        REQUIRE(::getsockopt(socket.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &told, &length) == 0);
        CHECK(told == bypass);
    }
}

}  // namespace cohort::test
