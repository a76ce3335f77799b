// The kernel's own traffic through ports: two hosts, each a network namespace, and between them one
// to three processes that forward, each at a queue of both ports.

#include "cohort/base/file_descriptor.hpp"
#include "process/mover_stand.hpp"
#include "support/bulk_transfer.hpp"
#include "support/network_host.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

using namespace std::string_literals;

constexpr const char* left_address = "10.77.0.1";
constexpr const char* right_address = "10.77.0.2";

/// `driver` is a spec without interface and queues: "af_xdp:mode=skb".
class forwarded_hosts {
public:
    forwarded_hosts(const std::string& driver, int processes)
        : left_{{.cable = "left", .address = left_address + "/24"s, .queues = processes}}
        , right_{{.cable = "right", .address = right_address + "/24"s, .queues = processes}}
        , forwarders_(static_cast<std::size_t>(processes))
        , counted_(forwarders_.size())
    {
        domain_->create_pktmbuf_pool("packets", {.count = 16'384, .cache_size = 32});
        const auto make = [&](const std::string& name) {
            const auto options = ",iface=" + name + ",queues=" + std::to_string(processes);
            return domain_->create_port(name, driver + options, {.rx_pool = "packets"});
        };
        left_port_.emplace(make("left"));
        right_port_.emplace(make("right"));
        for (std::size_t queue = 0; queue != forwarders_.size(); ++queue)
            spawn(queue);
    }
    /// SIGKILL for who has moved most packets since the last time, and another takes its place. On
    /// a busy machine nobody may have moved any: then for who has moved most since the beginning.
    void replace_the_busiest()
    {
        std::size_t busiest = 0;
        std::pair<std::uint64_t, std::uint64_t> most;
        for (std::size_t queue = 0; queue != forwarders_.size(); ++queue) {
            const auto all = packets_of(queue);
            const std::pair moved{all - counted_[queue], all};
            if (moved > most) {
                most = moved;
                busiest = queue;
            }
        }
        REQUIRE(most.second != 0);
        kill(busiest);
        for (std::size_t queue = 0; queue != forwarders_.size(); ++queue)
            counted_[queue] = packets_of(queue);
        spawn(busiest);
    }
    void kill_all()
    {
        for (std::size_t queue = 0; queue != forwarders_.size(); ++queue)
            kill(queue);
    }
    [[nodiscard]] bool are_at_rest() const { return is_at_rest(*domain_); }
    /// Received at `queue`, from both hosts.
    [[nodiscard]] std::uint64_t packets_of(std::size_t queue) const
    {
        const auto number = static_cast<std::uint16_t>(queue);
        return left_port_->rx_stats(number).packets + right_port_->rx_stats(number).packets;
    }
    /// What the ports know not to have got through.
    [[nodiscard]] std::uint64_t lost() const
    {
        std::uint64_t sum = 0;
        for (const auto* each : {&*left_port_, &*right_port_})
            sum += each->rx_stats().missed + each->rx_stats().errors + each->tx_stats().errors;
        return sum;
    }
    [[nodiscard]] const network_host& left() const noexcept { return left_; }
    [[nodiscard]] const network_host& right() const noexcept { return right_; }
    [[nodiscard]] std::size_t processes() const noexcept { return forwarders_.size(); }

private:
    void spawn(std::size_t queue)
    {
        forwarders_[queue].emplace(
            child_process::spawn("port_forwarder", {"forward", std::to_string(queue)}));
        forwarders_[queue]->await("forwarding", patience);
    }
    void kill(std::size_t queue)
    {
        forwarders_[queue]->kill();
        REQUIRE(forwarders_[queue]->wait(patience));
        forwarders_[queue].reset();
    }

    scratch_network network_;
    network_host left_;
    network_host right_;
    scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_{
        primary::start({.name = "forward", .memory = 64_MiB, .huge = huge_policy::none})};
    std::optional<port> left_port_;
    std::optional<port> right_port_;
    std::vector<std::optional<child_process>> forwarders_;
    std::vector<std::uint64_t> counted_;
};

/// In mode skb the kernel gives all frames of a veth to its first queue.
std::string af_xdp_for(int processes)
{
    return processes == 1 ? "af_xdp:mode=skb" : "af_xdp:mode=native";
}

void check_echo(forwarded_hosts& hosts)
{
    const pinger kernel{hosts.left().socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), right_address};
    for (std::uint16_t sequence = 1; sequence != 33; ++sequence) {
        kernel.ask(sequence);
        std::optional<std::uint16_t> answered;
        CHECK(eventually([&] { return (answered = kernel.answer()).has_value(); }));
        CHECK(answered == sequence);
    }
}

std::string datagram_of(std::uint64_t number)
{
    std::string bytes(reinterpret_cast<const char*>(&number), sizeof number);
    bytes.resize(sizeof number + number % 1'400, static_cast<char>(number * 7));
    return bytes;
}

/// One after another of 64 sockets, which are as many flows.
void check_datagrams(forwarded_hosts& hosts)
{
    constexpr std::uint64_t most_at_once = 64;
    const auto there = ipv4_address(right_address, 7'000);
    const auto* address = reinterpret_cast<const sockaddr*>(&there);
    const file_descriptor receiver{hosts.right().socket(AF_INET, SOCK_DGRAM, 0)};
    REQUIRE(::bind(receiver.get(), address, sizeof there) == 0);
    std::vector<file_descriptor> senders;
    for (int flow = 0; flow != 64; ++flow) {
        senders.emplace_back(hosts.left().socket(AF_INET, SOCK_DGRAM, 0));
        REQUIRE(::connect(senders.back().get(), address, sizeof there) == 0);
    }
    const std::size_t all = scaled(2'000, 200'000);
    arrivals arrived{all, {datagram_of, 0}};

    std::size_t sent = 0;
    CHECK(eventually(
        [&] {
            while (sent != all && sent < arrived.count() + hosts.lost() + most_at_once) {
                const auto bytes = datagram_of(sent);
                REQUIRE(::send(senders[sent % senders.size()].get(), bytes.data(), bytes.size(),
                               0) == static_cast<ssize_t>(bytes.size()));
                ++sent;
            }
            std::array<char, 2'048> bytes;
            for (ssize_t got = 0;
                 (got = ::recv(receiver.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0;)
                arrived.note({bytes.data(), static_cast<std::size_t>(got)});
            return arrived.count() + hosts.lost() >= all;
        },
        long_patience));

    CHECK(arrived.count() + hosts.lost() == all);
    CHECK(arrived.doubled() == 0);
    CHECK(arrived.damaged() == 0);
    for (std::size_t queue = 0; queue != hosts.processes(); ++queue)
        CHECK(hosts.packets_of(queue) != 0);
}

void check_small_talk(const std::string& driver, int processes)
{
    CAPTURE(driver, processes);
    forwarded_hosts hosts{driver, processes};

    check_echo(hosts);
    check_datagrams(hosts);

    hosts.kill_all();
    CHECK(eventually([&] { return hosts.are_at_rest(); }));
}

void check_tcp_survives(const std::string& driver, int processes)
{
    CAPTURE(driver, processes);
    forwarded_hosts hosts{driver, processes};
    bulk_transfer bulk{
        hosts.left(),
        hosts.right(),
        {.address = right_address, .connections = 6, .bytes = scaled(512, 65'536) * 1'024}};

    for (const std::size_t quarter : {1u, 2u, 3u}) {
        REQUIRE(bulk.run_until_received(bulk.all() / 4 * quarter, long_patience));
        hosts.replace_the_busiest();
    }

    CHECK(bulk.run_until_received(bulk.all(), long_patience));
    CHECK(bulk.run_until_ended(long_patience));
    CHECK(bulk.received() == bulk.all());
    CHECK(bulk.damaged() == 0);
    hosts.kill_all();
    CHECK(eventually([&] { return hosts.are_at_rest(); }));
}

}  // namespace

TEST_CASE("echo requests and datagrams of a kernel reach the other through af_packet ports, each "
          "once and whole",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    check_small_talk("af_packet:promiscuous=1", GENERATE(1, 2, 3));
}

TEST_CASE("echo requests and datagrams of a kernel reach the other through af_xdp ports, each once "
          "and whole",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    const int processes = GENERATE(1, 2, 3);
    check_small_talk(af_xdp_for(processes), processes);
}

TEST_CASE("TCP connections through af_packet ports bring every byte while the busiest forwarder is "
          "killed again and again",
          "[port][af_packet]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    check_tcp_survives("af_packet:promiscuous=1", GENERATE(1, 2, 3));
}

TEST_CASE("TCP connections through af_xdp ports bring every byte while the busiest forwarder is "
          "killed again and again",
          "[port][af_xdp]")
{
    COHORT_SKIP_UNLESS(scratch_network::xdp_possible(), scratch_network::xdp_missing);
    const int processes = GENERATE(1, 2, 3);
    check_tcp_survives(af_xdp_for(processes), processes);
}

}  // namespace cohort::test
