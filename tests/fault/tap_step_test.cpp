// Death at every instruction of a burst at a tap port, in steps as in single_step_test.cpp: what
// the dead was moving is on one side or on the other, or it is counted.

#include "fault/alone.hpp"
#include "fault/stepped_process.hpp"
#include "support/eventually.hpp"
#include "support/numbered_frames.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/scratch_network.hpp"
#include "support/seed.hpp"
#include "support/skip.hpp"

#include <array>
#include <set>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr std::uint64_t to_the_end = std::uint64_t{1} << 40;

/// Where one frame went.
struct frame_fate {
    std::uint64_t there = 0;     ///< on the side that it was to go to
    std::uint64_t back = 0;      ///< on the side that it came from
    std::uint64_t counted = 0;   ///< as moved
    std::uint64_t doubtful = 0;  ///< counted as an error, or as missed
};

/// A tap port whose frames need chains, and members that are killed at it.
class tap_stage {
public:
    /// Kills a victim after `count` instructions of `call`, or at its end; says after how many.
    std::uint64_t kill_after(const std::string& call, std::uint64_t count)
    {
        const bool sends = call == "send";
        const auto frame = next_frame();
        offer(frame, sends);
        const auto before = wire_.rx_stats();
        const auto sent_before = wire_.tx_stats();
        const auto steps = kill(call, count);
        if (steps % 2 == 0)  // the successor is there before the reaper
            claim();
        REQUIRE(eventually([&] { return is_alone(*domain_); }));
        claim();

        auto seen = sends ? find_sent(frame) : find_received(frame);
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
    [[nodiscard]] pktmbuf_pool make_pool(const char* name, const char* back_to)
    {
        return domain_->create_pktmbuf_pool(name, {.count = 64,
                                                   .cache_size = 8,
                                                   .policy = recovery_policy::redeliver,
                                                   .redeliver_to = back_to});
    }
    void offer(const std::string& frame, bool sends)
    {
        if (!sends) {
            REQUIRE(kernel_.send(frame));
            return;
        }
        REQUIRE(enqueue_frame(outgoing_, again_, frame));
        outgoing_.objects().flush();
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
    void claim()
    {
        CHECK(wire_.rx_burst(0, {}) == 0);
        CHECK(wire_.tx_burst(0, {}) == 0);
    }
    /// Takes what is there, which must be the frame.
    std::uint64_t take(mbuf* packet, const std::string& frame)
    {
        CHECK(find_fault(*packet, true) == nullptr);
        CHECK(bytes_of(*packet) == frame);
        free(packet);
        return 1;
    }
    frame_fate find_sent(const std::string& frame)
    {
        frame_fate seen;
        for (auto got = kernel_.receive(); !got.empty(); got = kernel_.receive()) {
            CHECK(got == frame);
            ++seen.there;
        }
        for (mbuf* packet = nullptr; again_.dequeue(packet);)
            seen.back += take(packet, frame);
        return seen;
    }
    frame_fate find_received(const std::string& frame)
    {
        frame_fate seen;
        for (mbuf* packet = nullptr; got_.dequeue(packet);)
            seen.there += take(packet, frame);
        for (mbuf* packet = nullptr; wire_.rx_burst(0, {&packet, 1}) == 1;)
            seen.there += take(packet, frame);
        return seen;
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
        for (auto* pool : {&outgoing_, &incoming_}) {
            pool->objects().flush();
            CHECK(pool->objects().in_use() == 0);
        }
        CHECK(domain_.audit().clean());
    }

    scratch_network network_;
    scratch_domain domain_;
    ring<mbuf*> again_{domain_->create_ring<mbuf*>("again", 64)};
    ring<mbuf*> got_{domain_->create_ring<mbuf*>("got", 64)};
    pktmbuf_pool outgoing_{make_pool("outgoing", "again")};
    pktmbuf_pool incoming_{make_pool("incoming", "got")};
    port wire_{domain_->create_port("wire", "tap:iface=tap,mtu=9000", {.rx_pool = "incoming"})};
    raw_station kernel_{"tap"};
    std::uint64_t number_ = 0;
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
    auto random = random_engine(call);
    std::set<std::uint64_t> chosen;
    if (full_scale())
        for (std::uint64_t k = 1; k <= total; ++k)
            chosen.insert(k);
    while (chosen.size() < std::min<std::uint64_t>(scaled(60, 60), total))
        chosen.insert(1 + random() % total);
    for (const auto k : chosen)
        scene.kill_after(call, k);
}

}  // namespace cohort::test
