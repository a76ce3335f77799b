// Death at every instruction of a burst at a tap port, in steps as in single_step_test.cpp: what
// the dead was moving is on one side or on the other, or it is counted.

#include "fault/port_stage.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"

#include <cstdint>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// Where one frame went.
struct frame_fate {
    std::uint64_t there = 0;     ///< on the side that it was to go to
    std::uint64_t back = 0;      ///< on the side that it came from
    std::uint64_t counted = 0;   ///< as moved
    std::uint64_t doubtful = 0;  ///< counted as an error, or as missed
};

/// A tap port whose frames need chains, and members that are killed at it.
class tap_stage : port_stage {
public:
    tap_stage() : port_stage{{.spec = "tap:iface=tap,mtu=9000", .far = "tap", .pool_count = 64}} {}

    /// Kills a victim after `count` instructions of `call`, or at its end; says after how many.
    std::uint64_t kill_after(const std::string& call, std::uint64_t count)
    {
        const bool sends = call == "send";
        const auto frame = next_frame();
        if (sends)
            offer_to_send(frame, outgoing_);
        else
            offer_to_receive(frame);
        const auto before = wire_.rx_stats();
        const auto sent_before = wire_.tx_stats();
        const auto steps = kill(call, count);
        succeed(steps);

        frame_fate seen;
        seen.there = sends ? take_at_kernel(frame) : take_received(frame);
        seen.back = sends ? take(again_, frame) : 0;
        const auto after = wire_.rx_stats();
        const auto sent_after = wire_.tx_stats();
        seen.counted =
            sends ? sent_after.packets - sent_before.packets : after.packets - before.packets;
        seen.doubtful =
            sends ? sent_after.errors - sent_before.errors : after.missed - before.missed;
        check(seen, call, steps);
        return steps;
    }

private:
    [[nodiscard]] std::string next_frame()
    {
        auto frame = frame_of(++number_);
        frame.resize(3'000, static_cast<char>(number_));
        return frame;
    }
    void check(const frame_fate& seen, const std::string& call, std::uint64_t steps)
    {
        INFO(call << ", killed after instruction " << steps << ": there " << seen.there << ", back "
                  << seen.back << ", counted " << seen.counted << ", in doubt " << seen.doubtful);
        CHECK(seen.there + seen.back <= 1);
        CHECK(seen.doubtful <= 1);
        CHECK(seen.there + seen.back + seen.doubtful >= 1);
        if (call == "send")
            CHECK(seen.counted + seen.back == 1);
        else
            CHECK(seen.counted + seen.doubtful == 1);
        flush_pools();
        CHECK(outgoing_.objects().in_use() == 0);
        CHECK(incoming_.objects().in_use() == 0);
        CHECK(domain_.audit().clean());
    }
};

}  // namespace

TEST_CASE("of a member killed after any instruction at a tap port, the frame is on one side, or "
          "counted, and never on both",
          "[single-step][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    const one_processor pinned;
    const std::string call = GENERATE(as<std::string>{}, "send", "receive");
    tap_stage scene;
    const auto total = scene.kill_after(call, to_the_end);
    REQUIRE(total > 100);
    for (const auto k : choose_instructions(total, scaled(60, 60), call))
        scene.kill_after(call, k);
}

}  // namespace cohort::test
