// An interface that several members serve by AF_XDP sockets over the memory of one pool: numbered
// frames both ways over a cable, while the processes at it are killed, the creator first.

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "process/living_domain.hpp"
#include "support/numbered_frames.hpp"
#include "support/scale.hpp"
#include "support/scratch_network.hpp"
#include "support/skip.hpp"

#include <array>
#include <memory>
#include <optional>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

using namespace std::chrono_literals;

constexpr auto long_patience = 100s;

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

/// A primary in this process with the rings and pools of the movers, one at each queue at most.
/// What a dead mover had received comes back through the ring that it was to go to, or came from.
class xdp_stand {
public:
    static constexpr std::uint32_t pool_count = 4096;

    void spawn(std::size_t queue, const std::string& role, const std::string& spec = {})
    {
        std::vector<std::string> arguments{"xdp", role, std::to_string(queue)};
        if (!spec.empty())
            arguments.push_back(spec);
        movers_.at(queue).emplace(child_process::spawn("port_mover", arguments));
        if (!spec.empty())
            movers_.at(queue)->await("made", patience);
    }
    void kill(std::size_t queue)
    {
        movers_.at(queue)->kill();
        REQUIRE(movers_.at(queue)->wait(patience));
        movers_.at(queue).reset();
    }
    [[nodiscard]] primary::owner& domain() noexcept { return *domain_; }
    [[nodiscard]] ring<mbuf*>& got() noexcept { return got_; }
    [[nodiscard]] ring<mbuf*>& waiting() noexcept { return waiting_; }
    [[nodiscard]] pktmbuf_pool& outgoing() noexcept { return outgoing_; }
    /// Every buffer is in its pool, or with the kernel.
    [[nodiscard]] bool is_at_rest()
    {
        const auto report = audit(domain_->mapping());
        bool all = report.clean();
        for (const auto& pool : report.pools)
            all = all && pool.in_pool + pool.cached + pool.at_devices == pool.count;
        return all;
    }
    [[nodiscard]] bool is_empty()
    {
        return incoming_.objects().in_use() == 0 && outgoing_.objects().in_use() == 0;
    }

private:
    [[nodiscard]] pktmbuf_pool make_pool(const char* name, const char* back_to)
    {
        return domain_->create_pktmbuf_pool(name, {.count = pool_count,
                                                   .cache_size = 8,
                                                   .policy = recovery_policy::redeliver,
                                                   .redeliver_to = back_to});
    }

    scratch_network network_;
    scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_{
        primary::start({.name = "xdp", .memory = 64_MiB, .huge = huge_policy::none})};
    ring<mbuf*> got_{domain_->create_ring<mbuf*>("got", 4096)};
    ring<mbuf*> waiting_{domain_->create_ring<mbuf*>("send", 4096)};
    pktmbuf_pool incoming_{make_pool("packets", "got")};
    pktmbuf_pool outgoing_{make_pool("outgoing", "send")};
    std::array<std::optional<child_process>, 2> movers_;
};

/// Numbered frames in both directions between the kernel and a port that movers serve.
class xdp_traffic {
public:
    xdp_traffic(xdp_stand& stand, std::size_t all, frame_kind kind, const char* far)
        : stand_{stand}
        , all_{all}
        , kind_{kind}
        , kernel_{far}
        , in_{all, kind}
        , out_{all, kind}
    {
    }
    /// A few frames further. The window is smaller than what the kernel has buffers for.
    void step()
    {
        for (int i = 0; i != 8 && sent_ < all_ && sent_ < in_.count() + window; ++i)
            sent_ += kernel_.send(kind_.make(sent_));
        std::array<mbuf*, 32> burst;
        for (auto* packet : std::span{burst}.first(stand_.got().dequeue_burst(burst))) {
            in_.note(bytes_of(*packet));
            free(packet);
        }
        for (int i = 0; i != 8 && made_ < all_ && made_ < out_.count() + window; ++i)
            made_ += enqueue_frame(stand_.outgoing(), stand_.waiting(), kind_.make(made_));
        for (auto frame = kernel_.receive(); !frame.empty(); frame = kernel_.receive())
            out_.note(frame);
    }
    [[nodiscard]] bool step_until(auto reached)
    {
        const auto until = std::chrono::steady_clock::now() + long_patience;
        while (!reached() && std::chrono::steady_clock::now() < until)
            step();
        return reached();
    }
    [[nodiscard]] std::size_t progress() const { return std::min(in_.count(), out_.count()); }
    /// No frame more than those that are on their way; true when all have come.
    [[nodiscard]] bool end()
    {
        all_ = 0;
        return step_until([&] { return in_.count() == sent_ && out_.count() == made_; });
    }
    void check() const
    {
        CHECK(in_.count() == sent_);
        CHECK(out_.count() == made_);
        CHECK(in_.doubled() + out_.doubled() == 0);
        CHECK(in_.damaged() + out_.damaged() == 0);
        CHECK(wire_.rx_stats().missed == 0);
        CHECK(wire_.rx_stats().errors == 0);
        CHECK(wire_.tx_stats().errors == 0);
        CHECK(wire_.rx_stats().packets == sent_);
        CHECK(wire_.tx_stats().packets == made_);
    }
    [[nodiscard]] port& wire() noexcept { return wire_; }

private:
    static constexpr std::size_t window = 200;

    xdp_stand& stand_;
    std::size_t all_;
    frame_kind kind_;
    port wire_{stand_.domain().find_port("wire").value()};
    raw_station kernel_;
    arrivals in_;
    arrivals out_;
    std::size_t sent_ = 0;
    std::size_t made_ = 0;
};

}  // namespace

TEST_CASE("who serves an AF_XDP socket is killed, its creator first, and no frame is lost, doubled "
          "or damaged in either direction",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    const std::string mode = GENERATE(as<std::string>{}, "skb", "native");
    constexpr std::size_t kills = 5;
    const std::size_t all = scaled(3'000, 500'000);
    xdp_stand stand;
    stand.spawn(0, "create", "af_xdp:iface=near,mode=" + mode);
    xdp_traffic traffic{stand, all, plain_frames, "far"};

    for (std::size_t killed = 0; killed != kills; ++killed) {
        REQUIRE(traffic.step_until(
            [&] { return traffic.progress() >= (killed + 1) * (all / (kills + 1)); }));
        stand.kill(0);
        stand.spawn(0, "both");
    }

    CHECK(traffic.step_until([&] { return traffic.progress() == all; }));
    stand.kill(0);
    CHECK(eventually([&] { return stand.is_at_rest(); }));
    traffic.check();
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
    xdp_stand stand;
    lay_wide_cable();
    stand.spawn(0, "create", "af_xdp:iface=left,queues=2,mode=native");
    stand.spawn(1, "both");
    xdp_traffic traffic{stand, 10'000'000, flow_frames, "right"};
    auto& wire = traffic.wire();
    const auto have_moved = [&](std::uint16_t queue, std::uint64_t more) {
        return [&wire, queue, rx = wire.rx_stats(queue).packets + more,
                tx = wire.tx_stats(queue).packets + more] {
            return wire.rx_stats(queue).packets >= rx && wire.tx_stats(queue).packets >= tx;
        };
    };
    REQUIRE(traffic.step_until(have_moved(0, some)));
    REQUIRE(traffic.step_until(have_moved(1, some)));

    stand.kill(0);
    REQUIRE(traffic.step_until(
        [&, tx = wire.tx_stats(1).packets + some] { return wire.tx_stats(1).packets >= tx; }));
    stand.spawn(0, "both");
    CHECK(traffic.step_until(have_moved(0, some)));
    CHECK(traffic.step_until(have_moved(1, some)));

    CHECK(traffic.end());
    stand.kill(0);
    stand.kill(1);
    CHECK(eventually([&] { return stand.is_at_rest(); }));
    traffic.check();
}

TEST_CASE("the program at an interface goes with the last process that has the port, however that "
          "one ends",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    const scratch_network network;
    const scratch_runtime_directory directory;
    auto primary = start_cohortd("xdp");
    {
        const auto shared = secondary::attach("xdp", patience);
        shared->create_pktmbuf_pool("packets", {.count = 256, .cache_size = 8});
        shared->create_ring<mbuf*>("got", 64);
    }
    auto mover = child_process::spawn("port_mover", {"xdp", "create", "0", "af_xdp:iface=near"});
    mover.await("made", patience);

    primary.kill();
    REQUIRE(primary.wait(patience));
    CHECK(has_program("near"));
    mover.kill();
    REQUIRE(mover.wait(patience));

    CHECK(eventually([] { return !has_program("near"); }));
}

TEST_CASE("an AF_XDP port that others have open is destroyed: what the kernel had is in the pool "
          "again, and each handle that is polled lets go of the queue",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    xdp_stand stand;
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
