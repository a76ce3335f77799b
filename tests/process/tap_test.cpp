// A tap interface that several members serve: the kernel's own stack and numbered frames on one
// side, and on the other processes that are killed, the creator first.

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

#include <netinet/ip_icmp.h>

namespace cohort::test {
namespace {

using namespace std::chrono_literals;

constexpr auto long_patience = 100s;

/// A primary in this process with the rings and pools of the movers, one at each queue at most.
/// What a dead mover had received comes back through the ring that it was to go to, or came from.
class tap_stand {
public:
    static constexpr std::uint32_t pool_count = 2048;

    void spawn(std::size_t queue, const std::string& role, const std::string& spec = {})
    {
        std::vector<std::string> arguments{"tap", role, std::to_string(queue)};
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
        primary::start({.name = "tap", .memory = 32_MiB, .huge = huge_policy::none})};
    ring<mbuf*> got_{domain_->create_ring<mbuf*>("got", 2048)};
    ring<mbuf*> waiting_{domain_->create_ring<mbuf*>("send", 2048)};
    pktmbuf_pool incoming_{make_pool("packets", "got")};
    pktmbuf_pool outgoing_{make_pool("outgoing", "send")};
    std::array<std::optional<child_process>, 2> movers_;
};

/// Numbered frames in both directions between the kernel and a port that movers serve.
class two_way_traffic {
public:
    two_way_traffic(tap_stand& stand, std::size_t all, frame_kind kind)
        : stand_{stand}
        , in_all_{all}
        , out_all_{all}
        , kind_{kind}
        , in_{all, kind}
        , out_{all, kind}
    {
    }
    /// A few frames further. The window is smaller than what the kernel keeps for a queue.
    void step()
    {
        missed_ = port_.rx_stats().missed;
        for (int i = 0; i != 8 && sent_ != in_all_ && sent_ < in_.count() + missed_ + window; ++i)
            sent_ += kernel_.send(kind_.make(sent_));
        std::array<mbuf*, 32> burst;
        for (auto* packet : std::span{burst}.first(stand_.got().dequeue_burst(burst))) {
            in_.note(bytes_of(*packet));
            free(packet);
        }
        for (int i = 0; i != 8 && made_ != out_all_ && made_ < out_.count() + doubtful() + window;
             ++i)
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
    /// No frame more than those that are on their way.
    void end()
    {
        in_all_ = sent_;
        out_all_ = made_;
    }
    [[nodiscard]] bool is_complete() const
    {
        return in_.count() + missed_ >= in_all_ && out_.count() + doubtful() >= out_all_;
    }
    /// What came through at least, of both directions.
    [[nodiscard]] std::size_t progress() const { return std::min(in_.count(), out_.count()); }
    void check(std::size_t kills) const
    {
        CHECK(in_.count() + port_.rx_stats().missed == in_all_);
        CHECK(in_.doubled() == 0);
        CHECK(in_.damaged() == 0);
        CHECK(port_.rx_stats().missed <= kills);
        CHECK(out_.count() + doubtful() >= out_all_);
        CHECK(out_.doubled() == 0);
        CHECK(out_.damaged() == 0);
        CHECK(doubtful() <= kills);
    }
    [[nodiscard]] port& wire() noexcept { return port_; }

private:
    static constexpr std::size_t window = 400;

    [[nodiscard]] std::size_t doubtful() const { return port_.tx_stats().errors; }

    tap_stand& stand_;
    std::size_t in_all_;
    std::size_t out_all_;
    frame_kind kind_;
    port port_{stand_.domain().find_port("wire").value()};
    raw_station kernel_{"tap"};
    arrivals in_;
    arrivals out_;
    std::size_t sent_ = 0;
    std::size_t made_ = 0;
    std::size_t missed_ = 0;
};

/// The kernel's stack, asking for an echo.
class pinger {
public:
    explicit pinger(const char* address)
        : fd_{::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)}
    {
        REQUIRE(fd_ >= 0);
        there_.sin_family = AF_INET;
        REQUIRE(::inet_pton(AF_INET, address, &there_.sin_addr) == 1);
    }
    ~pinger() { ::close(fd_); }
    pinger(const pinger&) = delete;
    pinger& operator=(const pinger&) = delete;

    void ask(std::uint16_t sequence) const
    {
        std::array<std::uint16_t, 32> words{};  // header and 56 bytes
        words[0] = ICMP_ECHO;
        words[2] = identity;
        words[3] = sequence;
        std::uint32_t sum = 0;
        for (const auto word : words)
            sum += word;
        sum = (sum & 0xffff) + (sum >> 16);
        words[1] = static_cast<std::uint16_t>(~((sum & 0xffff) + (sum >> 16)));
        static_cast<void>(::sendto(fd_, words.data(), sizeof words, 0,
                                   reinterpret_cast<const sockaddr*>(&there_), sizeof there_));
    }
    /// The sequence number of the next answer that has come, if any.
    [[nodiscard]] std::optional<std::uint16_t> answer() const
    {
        std::array<std::uint8_t, 256> bytes;
        while (::recv(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT) == 20 + 64) {
            std::array<std::uint16_t, 4> words;
            std::memcpy(words.data(), bytes.data() + 20, sizeof words);
            if (words[0] == ICMP_ECHOREPLY && words[2] == identity)
                return words[3];
        }
        return std::nullopt;
    }

private:
    static constexpr std::uint16_t identity = 0x1234;

    int fd_;
    sockaddr_in there_{};
};

}  // namespace

TEST_CASE("the kernel's echo requests are answered by a member through a tap port, also by the "
          "next when it is killed",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    tap_stand stand;
    stand.domain().create_port("wire", "tap:iface=tap", {.rx_pool = "packets"});
    scratch_network::run("ip addr add 10.77.0.1/24 dev tap");
    const pinger kernel{"10.77.0.2"};

    for (std::uint16_t round = 1; round != 4; ++round) {
        stand.spawn(0, "answer");
        CHECK(eventually([&] {
            kernel.ask(round);
            const auto answered = kernel.answer();
            return answered == round;
        }));
        stand.kill(0);
    }
}

TEST_CASE("who serves a tap interface is killed, its creator first, and no frame is lost "
          "uncounted, doubled or damaged in either direction",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    constexpr std::size_t most_kills = 5;
    const std::size_t all = scaled(3'000, 500'000);
    tap_stand stand;
    stand.spawn(0, "create", "tap:iface=tap");
    two_way_traffic traffic{stand, all, plain_frames};

    std::size_t kills = 0;
    while (kills != most_kills) {
        REQUIRE(traffic.step_until(
            [&] { return traffic.progress() >= (kills + 1) * (all / (most_kills + 1)); }));
        stand.kill(0);
        ++kills;
        stand.spawn(0, "both");
    }

    CHECK(traffic.step_until([&] { return traffic.is_complete(); }));
    traffic.check(kills);
    stand.kill(0);
    CHECK(eventually([&] { return stand.is_empty(); }));
}

TEST_CASE("of two members at two queues the creator is killed: the other's queue goes on, and a "
          "third takes over the dead one's",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    const std::size_t some = scaled(100, 50'000);
    tap_stand stand;
    stand.spawn(0, "create", "tap:iface=tap,queues=2");
    stand.spawn(1, "both");
    two_way_traffic traffic{stand, 10'000'000, flow_frames};
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
    CHECK(traffic.step_until(have_moved(1, some)));
    stand.spawn(0, "both");
    CHECK(traffic.step_until(have_moved(0, some)));

    traffic.end();
    CHECK(traffic.step_until([&] { return traffic.is_complete(); }));
    traffic.check(1);
    stand.kill(0);
    stand.kill(1);
    CHECK(eventually([&] { return stand.is_empty(); }));
}

TEST_CASE(
    "a tap port is destroyed while another member has it open, and the next one gets every frame",
    "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    constexpr std::size_t all = 64;
    tap_stand stand;
    stand.spawn(0, "create", "tap:iface=tap,queues=2");
    REQUIRE(stand.domain().destroy_port("wire"));  // by who has not opened it

    auto next =
        stand.domain().create_port("wire", "tap:iface=tap,queues=2", {.rx_pool = "packets"});
    const raw_station kernel{"tap"};
    for (std::size_t i = 0; i != all; ++i)
        REQUIRE(kernel.send(flow_frame_of(i)));
    arrivals arrived{all, flow_frames};
    CHECK(eventually([&] {
        std::array<mbuf*, 8> burst;
        for (std::uint16_t queue = 0; queue != 2; ++queue)
            for (auto* packet : std::span{burst}.first(next.rx_burst(queue, burst))) {
                arrived.note(bytes_of(*packet));
                free(packet);
            }
        return arrived.count() == all;
    }));
    CHECK(arrived.doubled() == 0);
    stand.kill(0);
    CHECK(stand.domain().destroy_port("wire"));
}

TEST_CASE("a tap interface goes with the last process that has it, however that one ends",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    const scratch_network network;
    const scratch_runtime_directory directory;
    auto primary = start_cohortd("tap");
    {
        const auto shared = secondary::attach("tap", patience);
        shared->create_pktmbuf_pool("packets", {.count = 256, .cache_size = 8});
        shared->create_ring<mbuf*>("got", 64);
    }
    auto mover = child_process::spawn("port_mover", {"tap", "create", "0", "tap:iface=tap"});
    mover.await("made", patience);

    primary.kill();
    REQUIRE(primary.wait(patience));
    CHECK(::if_nametoindex("tap") != 0);
    mover.kill();
    REQUIRE(mover.wait(patience));

    CHECK(eventually([] { return ::if_nametoindex("tap") == 0; }));
}

TEST_CASE("a frame longer than a buffer is received as a chain, and a chain is sent as one frame",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    tap_stand stand;
    auto port =
        stand.domain().create_port("wire", "tap:iface=tap,mtu=9000", {.rx_pool = "packets"});
    auto small = stand.domain().create_pktmbuf_pool(
        "small", {.count = 256, .cache_size = 0, .data_room = mbuf_headroom + 64});
    const raw_station kernel{"tap"};
    for (const std::size_t length : {8'000u, 60u, 9'014u}) {
        auto frame = frame_of(7);
        frame.resize(length, 'x');

        REQUIRE(kernel.send(frame));
        mbuf* got = nullptr;
        REQUIRE(eventually([&] { return port.rx_burst(0, {&got, 1}) == 1; }));
        CHECK(find_fault(*got, true) == nullptr);
        CHECK(got->nb_segs == (length + 2'047) / 2'048);
        CHECK(bytes_of(*got) == frame);
        free(got);
        CHECK(stand.is_empty());

        auto* chain = small.alloc_chain(length);
        REQUIRE(chain != nullptr);
        REQUIRE(write(*chain, 0, std::as_bytes(std::span{frame})));
        CHECK(port.tx_burst(0, {&chain, 1}) == 1);
        std::string seen;
        CHECK(eventually([&] { return !(seen = kernel.receive()).empty(); }));
        CHECK(seen == frame);
        CHECK(small.objects().in_use() == 0);
    }
    CHECK(port.rx_stats().errors == 0);
    CHECK(port.tx_stats().errors == 0);
}

}  // namespace cohort::test
