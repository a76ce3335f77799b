// An interface that all members share: packets with numbers cross a real veth pair while the
// processes at the port's queues, its creator first, are killed and followed by others.

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/numbered_frames.hpp"
#include "support/scale.hpp"
#include "support/scratch_directory.hpp"
#include "support/scratch_network.hpp"
#include "support/skip.hpp"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 30s;

/// A primary in this process, and movers beside it. What a dead mover had received comes back
/// through the ring that it was to go to, or came from.
class shared_interface {
public:
    explicit shared_interface(const char* ring)
        : domain_{primary::start({.name = "shared", .memory = 32_MiB, .huge = huge_policy::none})}
        , ring_{domain_->create_ring<mbuf*>(ring, 1024)}
        , pool_{domain_->create_pktmbuf_pool("packets", {.count = 1024,
                                                         .cache_size = 8,
                                                         .policy = recovery_policy::redeliver,
                                                         .redeliver_to = ring})}
    {
    }

    void spawn(const std::string& role)
    {
        mover_.emplace(child_process::spawn("port_mover", {"shared", role}));
        if (role == "create")
            mover_->await("made", patience);
    }
    void kill_mover()
    {
        mover_->kill();
        REQUIRE(mover_->wait(patience));
        mover_.reset();
    }
    [[nodiscard]] primary::owner& domain() noexcept { return *domain_; }
    [[nodiscard]] ring<mbuf*>& exchange() noexcept { return ring_; }
    [[nodiscard]] pktmbuf_pool& pool() noexcept { return pool_; }

private:
    scratch_network network_;
    scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_;
    ring<mbuf*> ring_;
    pktmbuf_pool pool_;
    std::optional<child_process> mover_;
};

}  // namespace

TEST_CASE("the receivers of an interface are killed, its creator first, and no packet is lost "
          "uncounted, doubled or damaged",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const std::size_t all = scaled(6'000, 1'000'000);
    shared_interface shared{"got"};
    shared.spawn("create");
    auto port = shared.domain().find_port("wire").value();
    const raw_station far{"far"};
    arrivals arrived{all};

    std::size_t sent = 0;
    std::size_t kills = 0;
    const auto until = std::chrono::steady_clock::now() + 100s;
    while (arrived.count() + port.rx_stats().missed < all &&
           std::chrono::steady_clock::now() < until) {
        for (int i = 0; i != 8 && sent != all && sent < arrived.count() + 400; ++i)
            sent += far.send(frame_of(sent));
        std::array<mbuf*, 32> burst;
        const auto count = shared.exchange().dequeue_burst(burst);
        for (auto* packet : std::span{burst}.first(count)) {
            arrived.note(bytes_of(*packet));
            free(packet);
        }
        if (arrived.count() >= (kills + 1) * (all / 6) && kills != 5) {
            shared.kill_mover();
            shared.spawn("rx");
            ++kills;
        }
    }

    CHECK(sent == all);
    CHECK(kills == 5);
    CHECK(arrived.count() + port.rx_stats().missed == all);
    CHECK(arrived.doubled() == 0);
    CHECK(arrived.damaged() == 0);
    shared.kill_mover();
    CHECK(eventually([&] { return shared.pool().objects().in_use() == 0; }));
}

TEST_CASE("the senders of an interface are killed and each packet is on the wire once",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const std::size_t all = scaled(6'000, 1'000'000);
    shared_interface shared{"send"};
    shared.domain().create_port("wire", "af_packet:iface=near");
    const raw_station far{"far"};
    shared.spawn("tx");
    arrivals arrived{all};

    std::size_t made = 0;
    std::size_t kills = 0;
    const auto until = std::chrono::steady_clock::now() + 100s;
    while (arrived.count() < all && std::chrono::steady_clock::now() < until) {
        while (made != all && made < arrived.count() + 400) {
            if (!enqueue_frame(shared.pool(), shared.exchange(), frame_of(made)))
                break;
            ++made;
        }
        for (auto frame = far.receive(); !frame.empty(); frame = far.receive())
            arrived.note(frame);
        if (arrived.count() >= (kills + 1) * (all / 6) && kills != 5) {
            shared.kill_mover();
            shared.spawn("tx");
            ++kills;
        }
    }

    CHECK(kills == 5);
    CHECK(arrived.count() == all);
    CHECK(arrived.doubled() == 0);
    CHECK(arrived.damaged() == 0);
    shared.kill_mover();
    CHECK(eventually([&] { return shared.pool().objects().in_use() == 0; }));
}

TEST_CASE("an interface that is not there, or down, or options that cannot be, are told in one "
          "sentence",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    shared_interface shared{"got"};
    auto& domain = shared.domain();
    for (const auto* spec :
         {"af_packet", "af_packet:iface=nowhere", "af_packet:iface=a_name_that_is_too_long",
          "af_packet:iface=near,queues=9", "af_packet:iface=near,promiscuous=2"}) {
        INFO(spec);
        CHECK_THROWS_AS(domain.create_port("bad", spec), error);
        CHECK_FALSE(domain.find_port("bad"));
    }
    CHECK_THROWS_AS(domain.create_port("bad", "af_packet:iface=near", {.rx_descriptors = 500}),
                    error);

    auto port = domain.create_port("wire", "af_packet:iface=near,queues=2", {.rx_pool = "packets"});
    CHECK(port.layout().mtu == 1500);
    scratch_network::run("ip link set near down");
    auto* packet = shared.pool().alloc_chain(100);
    static_cast<void>(port.tx_burst(0, {&packet, 1}));
    CHECK(port.layout().tx[0].last_errno.load() != 0);
    scratch_network::run("ip link del near");
    std::array<mbuf*, 4> burst;
    CHECK(port.rx_burst(1, burst) == 0);
    CHECK(domain.destroy_port("wire"));
}

TEST_CASE("a packet longer than the interface takes is counted and dropped, and the next goes out",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    shared_interface shared{"send"};
    auto port = shared.domain().create_port("wire", "af_packet:iface=near");
    const raw_station far{"far"};
    std::array<mbuf*, 2> packets{shared.pool().alloc_chain(5'000), nullptr};
    const auto frame = frame_of(3);
    packets[1] = shared.pool().alloc_chain(frame.size());
    REQUIRE(write(*packets[1], 0, std::as_bytes(std::span{frame})));

    CHECK(port.tx_burst(0, packets) == 1);
    CHECK(port.tx_burst(0, std::span{packets}.last(1)) == 1);

    CHECK(port.tx_stats().errors == 1);
    CHECK(port.tx_stats().packets == 1);
    std::string got;
    CHECK(eventually([&] { return !(got = far.receive()).empty(); }));
    CHECK(got == frame);
    CHECK(shared.pool().objects().in_use() == 0);
}

}  // namespace cohort::test
