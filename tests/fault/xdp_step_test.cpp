// Death at every instruction of a burst at an AF_XDP socket, in steps as in single_step_test.cpp:
// the packet is on one side or on the other, once, and the kernel has as many buffers as it has.

#include "fault/alone.hpp"
#include "fault/stepped_process.hpp"
#include "support/eventually.hpp"
#include "support/numbered_frames.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/scratch_network.hpp"
#include "support/seed.hpp"
#include "support/skip.hpp"

#include <set>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr std::uint64_t to_the_end = std::uint64_t{1} << 40;
constexpr std::uint32_t slots = 64;
constexpr std::uint32_t refill_at = 32;  // what has to be missing before the kernel is given more

/// A call of the stepper, and where what it sends is from: the memory that the kernel has, or not.
struct stepped_call {
    std::string name;
    bool own_pool = false;
};

class xdp_stage {
public:
    /// Kills a victim after `count` instructions of `call`, or at its end, and one that takes over
    /// after `claim` instructions unless that is 0. Says after how many the first.
    std::uint64_t kill_after(const stepped_call& call, std::uint64_t count, std::uint64_t claim = 0)
    {
        claim_here();
        leave_missing(refill_at - 1);
        const auto frame = frame_of(++number_);
        offer(frame, call);
        const auto received = wire_.rx_stats().packets;
        const auto sent = wire_.tx_stats().packets;
        const auto steps = kill(call.name, count);
        if (claim != 0)
            static_cast<void>(kill("claim", claim));
        if (steps % 2 == 0)  // the successor is there before the reaper
            claim_here();
        REQUIRE(eventually([&] { return is_alone(*domain_); }));
        claim_here();
        INFO(call.name << ", killed after instruction " << steps << ", then after " << claim);
        if (call.name == "send")
            check_sent(frame, wire_.tx_stats().packets - sent);
        else
            check_received(call.name == "receive" ? 1 : 0, frame, received);
        check_at_rest();
        return steps;
    }

private:
    [[nodiscard]] pktmbuf_pool make_pool(const char* name, const char* back_to)
    {
        return domain_->create_pktmbuf_pool(name, {.count = 256,
                                                   .cache_size = 8,
                                                   .policy = recovery_policy::redeliver,
                                                   .redeliver_to = back_to});
    }
    [[nodiscard]] std::uint32_t at_device() { return domain_.audit_of("incoming").at_devices; }
    void claim_here()
    {
        CHECK(wire_.rx_burst(0, {}) == 0);
        CHECK(wire_.tx_burst(0, {}) == 0);
    }
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
            REQUIRE(kernel_.send(frame));
        } else if (call.name == "send") {
            auto& from = call.own_pool ? incoming_ : outgoing_;
            REQUIRE(enqueue_frame(from, again_, frame));
            from.objects().flush();
        }
    }
    std::uint64_t kill(const std::string& call, std::uint64_t count)
    {
        wire_.release_rx(0);
        wire_.release_tx(0);
        stepped_process victim{"port_stepper", {"scratch", call}};
        const auto steps = victim.step(count);
        victim.kill();
        return steps;
    }
    std::size_t take_from(ring<mbuf*>& ring, const std::string& frame)
    {
        std::size_t count = 0;
        for (mbuf* packet = nullptr; ring.dequeue(packet); free(packet), ++count) {
            CHECK(find_fault(*packet, true) == nullptr);
            CHECK(bytes_of(*packet) == frame);
        }
        return count;
    }
    /// On the other side, or redelivered, and counted accordingly.
    void check_sent(const std::string& frame, std::uint64_t counted)
    {
        const auto back = take_from(again_, frame) + take_from(got_, frame);
        CHECK(counted + back == 1);
        std::size_t there = 0;
        static_cast<void>(eventually([&] {
            for (auto got = kernel_.receive(); !got.empty(); got = kernel_.receive()) {
                CHECK(got == frame);
                ++there;
            }
            return there >= counted;
        }));
        CHECK(there == counted);
    }
    /// Redelivered, or still to be received.
    void check_received(std::size_t expected, const std::string& frame, std::uint64_t before)
    {
        std::size_t there = take_from(got_, frame);
        for (mbuf* packet = nullptr; wire_.rx_burst(0, {&packet, 1}) == 1; free(packet), ++there)
            CHECK(bytes_of(*packet) == frame);
        CHECK(there == expected);
        CHECK(wire_.rx_stats().packets - before == expected);
    }
    void check_at_rest()
    {
        for (auto* pool : {&outgoing_, &incoming_})
            pool->objects().flush();
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

    scratch_network network_;
    scratch_domain domain_;
    ring<mbuf*> again_{domain_->create_ring<mbuf*>("again", 64)};
    ring<mbuf*> got_{domain_->create_ring<mbuf*>("got", 64)};
    pktmbuf_pool outgoing_{make_pool("outgoing", "again")};
    pktmbuf_pool incoming_{make_pool("incoming", "got")};
    port wire_{domain_->create_port("wire", "af_xdp:iface=near",
                                    {.rx_pool = "incoming", .rx_descriptors = slots})};
    raw_station kernel_{"far"};
    std::uint64_t number_ = 0;
};

/// All of them at full scale, else some.
std::set<std::uint64_t> choose(std::uint64_t total, std::size_t some, const std::string& label)
{
    auto random = random_engine(label);
    std::set<std::uint64_t> chosen;
    if (full_scale())
        for (std::uint64_t k = 1; k <= total; ++k)
            chosen.insert(k);
    while (chosen.size() < std::min<std::uint64_t>(some, total))
        chosen.insert(1 + random() % total);
    return chosen;
}

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
    for (const auto k : choose(total, 40, which))
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
