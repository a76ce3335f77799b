#include "port_bench.hpp"

#include "cohort/primary/primary.hpp"
#include "pages.hpp"
#include "port_loops.hpp"
#include "support/capture_bytes.hpp"
#include "support/scratch_network.hpp"

#include <fstream>
#include <functional>
#include <optional>
#include <string>

#include <fmt/format.h>

namespace cohort::bench {
namespace {

domain* shared = nullptr;  // of this process

class cohort_port {
public:
    using packet = mbuf;

    explicit cohort_port(const port_setup& setup)
        : port_{shared->create_port("measured", setup.ours,
                                    {.rx_pool = "packets",
                                     .rx_descriptors = port_descriptors,
                                     .tx_descriptors = port_descriptors})}
    {
        static_cast<void>(port_.rx_burst(0, {}));  // an interface is listened to from here on
    }
    ~cohort_port() { shared->destroy_port("measured"); }
    cohort_port(const cohort_port&) = delete;
    cohort_port& operator=(const cohort_port&) = delete;

    std::size_t receive(packet** packets, std::size_t n) { return port_.rx_burst(0, {packets, n}); }
    std::size_t send(packet** packets, std::size_t n) { return port_.tx_burst(0, {packets, n}); }
    bool alloc(packet** packets, std::size_t n, std::uint32_t bytes)
    {
        if (!pool_.alloc_bulk({packets, n}))
            return false;
        for (std::size_t i = 0; i != n; ++i) {
            packets[i]->data_len = static_cast<std::uint16_t>(bytes);
            packets[i]->pkt_len = bytes;
        }
        return true;
    }
    static void free(packet** packets, std::size_t n) { free_bulk({packets, n}); }

private:
    pktmbuf_pool pool_ = *shared->find_pktmbuf_pool("packets");
    cohort::port port_;
};

/// Packets of many lengths in a file that is in memory, and a place to write them to.
class capture_files {
public:
    static constexpr std::uint64_t packets = 100'000;

    capture_files()
    {
        auto capture = test::capture_bytes::pcap();
        for (std::uint64_t i = 0; i != packets; ++i)
            capture.record(i, std::string(60 + i * 7919 % 1455, static_cast<char>('a' + i % 26)));
        std::ofstream{in(), std::ios::binary} << capture.text();
    }
    ~capture_files()
    {
        static_cast<void>(::unlink(in().c_str()));
        static_cast<void>(::unlink(out().c_str()));
    }
    capture_files(const capture_files&) = delete;
    capture_files& operator=(const capture_files&) = delete;

    [[nodiscard]] std::string in() const { return base_ + ".in"; }
    [[nodiscard]] std::string out() const { return base_ + ".out"; }

private:
    std::string base_ = fmt::format("/dev/shm/cohort-bench-{}", ::getpid());
};

double million_a_second(std::uint64_t packets, double milliseconds)
{
    return static_cast<double>(packets) / milliseconds / 1e3;
}

/// An interface of the kernel, and what is at its other end.
struct interface_row {
    std::string name;
    std::string far;
    std::string far_of_peer;  ///< the same, unless the peer has a cable of its own
    double target;
    port_setup setup;
};

double sent(const port_kind& kind, const interface_row& row, std::uint32_t bytes)
{
    constexpr std::uint64_t packets = 64 * 1024;
    const auto port = kind.make(row.setup);
    const auto start = clock::now();
    port->send(packets, bytes);
    return million_a_second(packets, milliseconds_since(start));
}

/// What lies in the port's ring is received: who sends it is not measured.
double received(const port_kind& kind, const interface_row& row, std::uint32_t bytes)
{
    constexpr std::uint64_t at_a_time = 256;
    constexpr std::uint64_t times = 100;
    const auto port = kind.make(row.setup);
    const test::raw_station sender{(kind.name == "ours" ? row.far : row.far_of_peer).c_str()};
    const std::string frame(bytes, '\2');
    double milliseconds = 0;
    for (std::uint64_t i = 0; i != times; ++i) {
        for (std::uint64_t k = 0; k != at_a_time; ++k)
            if (!sender.send(frame))
                throw std::runtime_error{"a frame is not sent"};
        const auto start = clock::now();
        port->receive(at_a_time);
        milliseconds += milliseconds_since(start);
    }
    return million_a_second(times * at_a_time, milliseconds);
}

}  // namespace

struct port_stage::cast {
    std::optional<test::scratch_network> network;
    std::unique_ptr<primary::owner> domain =
        primary::start({.name = "ports", .memory = 48_MiB, .huge = huge_policy::only_2m});
    std::vector<port_kind> kinds{detail::port_kind_of<cohort_port>("ours")};
    std::optional<capture_files> files;

    explicit cast(bool with_dpdk)
    {
        if (test::scratch_network::possible())
            network.emplace();
        shared = domain.get();
        domain->create_pktmbuf_pool("packets",
                                    {.count = port_pool_count, .cache_size = port_pool_cache});
        domain->create_ring<mbuf*>(
            "loop", port_descriptors,
            {.producers = ring_mode::single, .consumers = ring_mode::single});
        if (with_dpdk)
            for (auto& each : dpdk_ports())
                kinds.push_back(each);
    }

    using figure = std::function<double(const port_kind&)>;

    void add(std::vector<measurement>& list, std::string name, double target,
             const figure& measure) const
    {
        measurement made{
            .name = std::move(name), .unit = "Mpps", .wanted = better::higher, .pages = "2M"};
        const auto pinned_to_0 = [measure](const port_kind& kind) {
            const pinned here{0};
            return measure(kind);
        };
        made.ours = [pinned_to_0, &kind = kinds[0]] { return pinned_to_0(kind); };
        for (std::size_t i = 1; i < kinds.size(); ++i)
            made.peers.push_back({kinds[i].name,
                                  [pinned_to_0, &kind = kinds[i]] { return pinned_to_0(kind); },
                                  target});
        list.push_back(std::move(made));
    }

    void add_memory_rows(std::vector<measurement>& list) const
    {
        constexpr std::uint64_t packets = 1u << 20;
        add(list, "port, null, rx and tx of 64 bytes", 1.2, [](const port_kind& kind) {
            const auto port = kind.make({"null:size=64", "net_null", "size=64,copy=0"});
            const auto start = clock::now();
            port->forward(packets);
            return million_a_second(packets, milliseconds_since(start));
        });
        add(list, "port, ring, loop", 1.2, [](const port_kind& kind) {
            const auto port = kind.make({"ring:rx=loop,tx=loop", "net_ring", ""});
            port->prime(64);
            const auto start = clock::now();
            port->forward(packets);
            const auto rate = million_a_second(packets, milliseconds_since(start));
            port->receive(port_burst);
            return rate;
        });
    }

    /// From the making of the port: ours reads the file through then.
    void add_file_row(std::vector<measurement>& list)
    {
        files.emplace();
        const port_setup setup{fmt::format("pcap:rx={},tx={}", files->in(), files->out()),
                               "net_pcap",
                               fmt::format("rx_pcap={},tx_pcap={}", files->in(), files->out())};
        add(list, "port, pcap, read, forward, write", 1.5, [setup](const port_kind& kind) {
            const auto start = clock::now();
            const auto port = kind.make(setup);
            port->forward(capture_files::packets);
            return million_a_second(capture_files::packets, milliseconds_since(start));
        });
    }

    void add_interface_rows(std::vector<measurement>& list, const interface_row& row) const
    {
        const std::vector<std::uint32_t> lengths = row.name == "af_packet"
                                                       ? std::vector<std::uint32_t>{64, 1500}
                                                       : std::vector<std::uint32_t>{64};
        for (const auto bytes : lengths) {
            add(list, fmt::format("port, {}, tx of {} bytes", row.name, bytes), row.target,
                [row, bytes](const port_kind& kind) { return sent(kind, row, bytes); });
            add(list, fmt::format("port, {}, rx of {} bytes", row.name, bytes), row.target,
                [row, bytes](const port_kind& kind) { return received(kind, row, bytes); });
        }
    }
};

port_stage::port_stage(bool with_dpdk) : cast_{std::make_unique<cast>(with_dpdk)}
{
}
port_stage::~port_stage() = default;

std::vector<measurement> port_stage::measurements()
{
    std::vector<measurement> list;
    cast_->add_memory_rows(list);
    cast_->add_file_row(list);
    if (!cast_->network)
        return list;
    cast_->add_interface_rows(
        list, {.name = "af_packet",
               .far = "far",
               .far_of_peer = "far",
               .target = 1.2,
               .setup = {"af_packet:iface=near,promiscuous=1", "net_af_packet",
                         "iface=near,framesz=2048,blocksz=65536,framecnt=1024,qdisc_bypass=1"}});
    if (test::scratch_network::tap_possible())
        cast_->add_interface_rows(list, {.name = "tap",
                                         .far = "tap",
                                         .far_of_peer = "tap",
                                         .target = 1.0,
                                         .setup = {"tap:iface=tap", "net_tap", "iface=tap"}});
    if (test::scratch_network::xdp_possible()) {
        test::scratch_network::make_cable("near2", "far2");
        cast_->add_interface_rows(
            list, {.name = "af_xdp",
                   .far = "far",
                   .far_of_peer = "far2",
                   .target = 1.0,
                   .setup = {"af_xdp:iface=near", "net_af_xdp", "iface=near2,force_copy=1"}});
    }
    return list;
}

}  // namespace cohort::bench
