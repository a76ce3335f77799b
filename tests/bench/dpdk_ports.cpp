// Ports of rte_ethdev over DPDK's virtual drivers, in the hugepages of a running EAL.

#include "port_loops.hpp"

#ifdef COHORT_BENCH_DPDK

#include <stdexcept>

#include <fmt/format.h>

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

namespace cohort::bench {
namespace {

void require(int result, const char* what)
{
    if (result < 0)
        throw std::runtime_error{fmt::format("DPDK: {} failed: {}", what, result)};
}

rte_mempool* pool()
{
    static auto* const made =
        rte_pktmbuf_pool_create("port packets", port_pool_count, port_pool_cache, 0,
                                RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!made)
        throw std::runtime_error{"DPDK has no pool for ports"};
    return made;
}

class dpdk_port {
public:
    using packet = rte_mbuf;

    explicit dpdk_port(const port_setup& setup) : device_{setup.dpdk_driver + "0"}
    {
        require(rte_eal_hotplug_add("vdev", device_.c_str(), setup.dpdk_options.c_str()),
                device_.c_str());
        require(rte_eth_dev_get_port_by_name(device_.c_str(), &port_), "finding the port");
        const rte_eth_conf plain{};
        require(rte_eth_dev_configure(port_, 1, 1, &plain), "configure");
        require(rte_eth_rx_queue_setup(port_, 0, port_descriptors, SOCKET_ID_ANY, nullptr, pool_),
                "rx queue");
        require(rte_eth_tx_queue_setup(port_, 0, port_descriptors, SOCKET_ID_ANY, nullptr),
                "tx queue");
        require(rte_eth_dev_start(port_), "start");
    }
    ~dpdk_port()
    {
        static_cast<void>(rte_eth_dev_stop(port_));
        static_cast<void>(rte_eal_hotplug_remove("vdev", device_.c_str()));
    }
    dpdk_port(const dpdk_port&) = delete;
    dpdk_port& operator=(const dpdk_port&) = delete;

    std::size_t receive(packet** packets, std::size_t n)
    {
        return rte_eth_rx_burst(port_, 0, packets, static_cast<std::uint16_t>(n));
    }
    std::size_t send(packet** packets, std::size_t n)
    {
        return rte_eth_tx_burst(port_, 0, packets, static_cast<std::uint16_t>(n));
    }
    bool alloc(packet** packets, std::size_t n, std::uint32_t bytes)
    {
        if (rte_pktmbuf_alloc_bulk(pool_, packets, static_cast<unsigned>(n)) != 0)
            return false;
        for (std::size_t i = 0; i != n; ++i) {
            packets[i]->data_len = static_cast<std::uint16_t>(bytes);
            packets[i]->pkt_len = bytes;
        }
        return true;
    }
    static void free(packet** packets, std::size_t n)
    {
        rte_pktmbuf_free_bulk(packets, static_cast<unsigned>(n));
    }

private:
    rte_mempool* pool_ = pool();
    std::string device_;
    std::uint16_t port_ = 0;
};

/// A port that stays open. DPDK 22.11 never closes the socket of a net_af_xdp port, which keeps its
/// queue from the next one.
class kept_port final : public measured_port {
public:
    explicit kept_port(measured_port& port) : port_{port} {}

    void prime(std::uint32_t bytes) override { port_.prime(bytes); }
    void forward(std::uint64_t total) override { port_.forward(total); }
    void send(std::uint64_t total, std::uint32_t bytes) override { port_.send(total, bytes); }
    void receive(std::uint64_t total) override { port_.receive(total); }

private:
    measured_port& port_;
};

}  // namespace

std::vector<port_kind> dpdk_ports()
{
    const auto make = [](const port_setup& setup) -> std::unique_ptr<measured_port> {
        const auto each_anew = detail::port_kind_of<dpdk_port>("dpdk").make;
        if (setup.dpdk_driver != "net_af_xdp")
            return each_anew(setup);
        static auto* const kept = each_anew(setup).release();  // until the process ends
        return std::make_unique<kept_port>(*kept);
    };
    return {{"dpdk", make}};
}

}  // namespace cohort::bench

#else

std::vector<cohort::bench::port_kind> cohort::bench::dpdk_ports()
{
    return {};
}

#endif
