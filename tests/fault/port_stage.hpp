#pragma once
// A port at an interface whose users are killed in the middle of a burst, instruction by
// instruction, and where the frame that they moved may be then.

#include "fault/alone.hpp"
#include "fault/stepped_process.hpp"
#include "support/eventually.hpp"
#include "support/numbered_frames.hpp"
#include "support/redelivered.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/scratch_network.hpp"
#include "support/seed.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {

inline constexpr std::uint64_t to_the_end = std::uint64_t{1} << 40;

/// The port "wire" of one queue, the kernel's interface `far` at its other side, and the pools
/// "outgoing" and "incoming". What a dead member had of the first comes back through the ring
/// "again", from which the victims send, and of the other through "got".
class port_stage {
public:
    struct options {
        const char* spec;
        const char* far;
        std::uint32_t pool_count;
        std::uint32_t rx_descriptors = port_options{}.rx_descriptors;
    };
    explicit port_stage(const options& wanted) : options_{wanted} {}

protected:
    ~port_stage() = default;
    port_stage(const port_stage&) = delete;
    port_stage& operator=(const port_stage&) = delete;

    /// Puts a frame where the victim is to find it: out of `from` to be sent.
    void offer_to_send(const std::string& frame, pktmbuf_pool& from)
    {
        REQUIRE(enqueue_frame(from, again_, frame));
        from.objects().flush();
    }
    void offer_to_receive(const std::string& frame) { REQUIRE(kernel_.send(frame)); }
    /// A victim that is killed after `count` instructions of `call`, or at its end; after how many.
    std::uint64_t kill(const std::string& call, std::uint64_t count)
    {
        wire_.release_rx(0);
        wire_.release_tx(0);
        stepped_process victim{"port_stepper", {"scratch", call}};
        const auto steps = victim.step(count);
        victim.kill();
        return steps;
    }
    /// This process is at the queue, as the first to be there.
    void claim()
    {
        CHECK(wire_.rx_burst(0, {}) == 0);
        CHECK(wire_.tx_burst(0, {}) == 0);
    }
    /// What the dead had is given back, and its queue has a successor: before that in every other
    /// case, else after it.
    void succeed(std::uint64_t steps)
    {
        if (steps % 2 == 0)
            claim();
        REQUIRE(eventually([&] { return is_alone(*domain_); }));
        claim();
    }
    /// Takes what is in the ring, which must be the frame; how often it was.
    [[nodiscard]] std::size_t take(ring<mbuf*>& from, const std::string& frame)
    {
        return take_all([&](mbuf*& packet) { return from.dequeue(packet); }, frame);
    }
    /// Takes what was received, or can be, which must be the frame; how often it was.
    [[nodiscard]] std::size_t take_received(const std::string& frame)
    {
        return take(got_, frame) + take_all(
                                       [&](mbuf*& packet) {
                                           return wire_.rx_burst(0, {&packet, 1}) == 1;
                                       },
                                       frame);
    }
    /// Takes what is at the other side, which must be the frame; how often it was.
    [[nodiscard]] std::size_t take_at_kernel(const std::string& frame) const
    {
        std::size_t count = 0;
        for (auto got = kernel_.receive(); !got.empty(); got = kernel_.receive(), ++count)
            CHECK(got == frame);
        return count;
    }
    void flush_pools()
    {
        for (auto* pool : {&outgoing_, &incoming_})
            pool->objects().flush();
    }

private:
    [[nodiscard]] std::size_t take_all(auto next, const std::string& frame)
    {
        std::size_t count = 0;
        for (mbuf* packet = nullptr; next(packet); free(packet), ++count) {
            CHECK(find_fault(*packet, true) == nullptr);
            CHECK(text_of(*packet) == frame);
        }
        return count;
    }

    options options_;
    scratch_network network_;

protected:
    scratch_domain domain_;
    ring<mbuf*> again_{domain_->create_ring<mbuf*>("again", 64)};
    ring<mbuf*> got_{domain_->create_ring<mbuf*>("got", 64)};
    pktmbuf_pool outgoing_{
        domain_->create_pktmbuf_pool("outgoing", redelivered_to("again", options_.pool_count))};
    pktmbuf_pool incoming_{
        domain_->create_pktmbuf_pool("incoming", redelivered_to("got", options_.pool_count))};
    port wire_{domain_->create_port(
        "wire", options_.spec, {.rx_pool = "incoming", .rx_descriptors = options_.rx_descriptors})};
    raw_station kernel_{options_.far};
    std::uint64_t number_ = 0;
};

/// Of the instructions 1 to `total` all at full scale, else some.
[[nodiscard]] inline std::set<std::uint64_t> choose_instructions(std::uint64_t total,
                                                                 std::uint64_t some,
                                                                 const std::string& label)
{
    auto random = random_engine(label);
    std::set<std::uint64_t> chosen;
    if (full_scale())
        for (std::uint64_t k = 1; k <= total; ++k)
            chosen.insert(k);
    while (chosen.size() < std::min(some, total))
        chosen.insert(1 + random() % total);
    return chosen;
}

}  // namespace cohort::test
