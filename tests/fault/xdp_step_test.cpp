// Death at every instruction of a burst at an AF_XDP socket, in steps as in single_step_test.cpp:
// the packet is on one side or on the other, once, and the kernel has as many buffers as it has.

#include "fault/port_stage.hpp"
#include "support/skip.hpp"

#include <cstdint>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr std::uint32_t slots = 64;
constexpr std::uint32_t refill_at = 32;  // what has to be missing before the kernel is given more

/// A call of the stepper, and where what it sends is from: the memory that the kernel has, or not.
struct stepped_call {
    std::string name;
    bool own_pool = false;
};

class xdp_stage : port_stage {
public:
    xdp_stage()
        : port_stage{{.spec = "af_xdp:iface=near",
                      .far = "far",
                      .pool_count = 256,
                      .rx_descriptors = slots}}
    {
    }
    /// Kills a victim after `count` instructions of `call`, or at its end, and one that takes over
    /// after `successor` instructions unless that is 0. Says after how many the first.
    std::uint64_t kill_after(const stepped_call& call, std::uint64_t count,
                             std::uint64_t successor = 0)
    {
        claim();
        leave_missing(refill_at - 1);
        const auto frame = frame_of(++number_);
        offer(frame, call);
        const auto received = wire_.rx_stats().packets;
        const auto sent = wire_.tx_stats().packets;
        const auto steps = kill(call.name, count);
        if (successor != 0)
            static_cast<void>(kill("claim", successor));
        succeed(steps);
        INFO(call.name << ", killed after instruction " << steps << ", then after " << successor);
        if (call.name == "send")
            check_sent(frame, wire_.tx_stats().packets - sent);
        else
            check_received(call.name == "receive" ? 1 : 0, frame, received);
        check_at_rest();
        return steps;
    }

private:
    [[nodiscard]] std::uint32_t at_device() { return domain_.audit_of("incoming").at_devices; }
    /// The kernel has that many buffers less than it may have.
    void leave_missing(std::uint32_t missing)
    {
        for (std::uint32_t i = 0; i != 2 * slots && at_device() != slots - missing; ++i) {
            REQUIRE(kernel_.send(frame_of(0)));
            mbuf* packet = nullptr;
            REQUIRE(eventually([&] { return wire_.rx_burst(0, {&packet, 1}) == 1; }));
            free(packet);
        }
        REQUIRE(at_device() == slots - missing);
    }
    void offer(const std::string& frame, const stepped_call& call)
    {
        if (call.name == "receive") {
            offer_to_receive(frame);
        } else if (call.name == "send") {
            offer_to_send(frame, call.own_pool ? incoming_ : outgoing_);
        }
    }
    /// On the other side, or redelivered, and counted accordingly.
    void check_sent(const std::string& frame, std::uint64_t counted)
    {
        const auto back = take(again_, frame) + take(got_, frame);
        CHECK(counted + back == 1);
        std::size_t there = 0;
        static_cast<void>(eventually([&] {
            there += take_at_kernel(frame);
            return there >= counted;
        }));
        CHECK(there == counted);
    }
    /// Redelivered, or still to be received.
    void check_received(std::size_t expected, const std::string& frame, std::uint64_t before)
    {
        CHECK(take_received(frame) == expected);
        CHECK(wire_.rx_stats().packets - before == expected);
    }
    void check_at_rest()
    {
        flush_pools();
        const char* fault = wire_.find_fault();
        INFO((fault ? fault : "the port is sound"));
        CHECK(fault == nullptr);
        CHECK(outgoing_.objects().in_use() == 0);
        CHECK(incoming_.objects().in_use() == at_device());
        CHECK(domain_.audit().clean());
        CHECK(wire_.rx_stats().missed == 0);
        CHECK(wire_.rx_stats().errors == 0);
        CHECK(wire_.tx_stats().errors == 0);
    }
};

}  // namespace

TEST_CASE("of a member killed after any instruction at an AF_XDP socket, the packet is on one side "
          "and no buffer is lost",
          "[single-step][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    const one_processor pinned;
    const std::string which = GENERATE(as<std::string>{}, "send", "send own", "receive", "claim");
    const stepped_call call{which.substr(0, which.find(' ')), which == "send own"};
    xdp_stage scene;
    const auto total = scene.kill_after(call, to_the_end);
    REQUIRE(total > 100);
    for (const auto k : choose_instructions(total, scaled(40, 40), which))
        scene.kill_after(call, k);
}

TEST_CASE("who takes an AF_XDP socket over from a dead member may be killed doing it",
          "[single-step][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    const one_processor pinned;
    xdp_stage scene;
    const stepped_call call{"receive"};
    const auto total = scene.kill_after(call, to_the_end);
    const auto claim = scene.kill_after({"claim"}, to_the_end);
    auto random = random_engine("xdp take over");
    for (std::size_t i = 0; i != scaled(40, 4'000); ++i)
        scene.kill_after(call, 1 + random() % total, 1 + random() % claim);
}

}  // namespace cohort::test
