#pragma once
// A port of each driver with something on the other side, so that one test can be run for all.

#include "cohort/primary/primary.hpp"
#include "support/capture_bytes.hpp"
#include "support/packet_bytes.hpp"
#include "support/port_receive.hpp"
#include "support/scratch_directory.hpp"
#include "support/scratch_network.hpp"

#include <array>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

/// What every wired port has to offer: so many packets, numbered, each of 100 bytes.
inline constexpr std::size_t supplied = 48;
inline constexpr std::size_t packet_bytes = 100;

inline std::string numbered_payload(std::size_t number)
{
    auto text = "............" + std::to_string(number) + ' ';  // where Ethernet has addresses
    text.resize(packet_bytes, '.');
    return text;
}

/// A domain "wired" with a pool "packets" and a port "port" of one driver.
class wired_port {
public:
    static constexpr std::uint32_t pool_count = 256;

    explicit wired_port(std::string driver)
        : driver_{std::move(driver)}
        , network_{is_interface() ? std::make_unique<scratch_network>() : nullptr}
        , domain_{primary::start({.name = "wired", .memory = 16_MiB, .huge = huge_policy::none})}
        , pool_{domain_->create_pktmbuf_pool("packets", {.count = pool_count, .cache_size = 8})}
        , port_{domain_->create_port("port", wire(), {.rx_pool = "packets"})}
        , station_{is_interface() ? std::make_unique<raw_station>(driver_ == "tap" ? "tap" : "far",
                                                                  raw_station::hears::nothing)
                                  : nullptr}
    {
        supply();
    }
    ~wired_port() { drain(); }
    wired_port(const wired_port&) = delete;
    wired_port& operator=(const wired_port&) = delete;

    [[nodiscard]] primary::owner& domain() noexcept { return *domain_; }
    [[nodiscard]] cohort::port& port() noexcept { return port_; }
    [[nodiscard]] pktmbuf_pool& pool() noexcept { return pool_; }
    /// Buffers outside the pool, those that wait on the wire or are the device's not counted.
    [[nodiscard]] std::size_t in_use() const
    {
        const auto waiting = (in_ ? in_->count() : 0) + (out_ ? out_->count() : 0);
        return pool_.objects().in_use() - waiting - at_device();
    }
    /// False for a driver that makes packets up.
    [[nodiscard]] bool is_finite() const { return driver_ != "null"; }
    [[nodiscard]] bool takes_everything() const { return driver_ != "ring"; }
    [[nodiscard]] bool is_interface() const
    {
        return driver_ == "af_packet" || driver_ == "tap" || driver_ == "af_xdp";
    }
    /// The memory of the pool is the device's too.
    [[nodiscard]] bool shares_pool() const { return driver_ == "af_xdp"; }

    /// Up to `most` packets, which the caller has then. Waits until there are as many, if they come
    /// at all.
    [[nodiscard]] std::vector<mbuf*> receive(std::size_t most)
    {
        return test::receive(port_, most);
    }
    /// A packet of this member's own.
    [[nodiscard]] mbuf* packet(std::size_t number) { return packet(numbered_payload(number)); }
    [[nodiscard]] mbuf* packet(std::string_view text)
    {
        auto* made = pool_.alloc_chain(text.size());
        must(made != nullptr);
        must(write(*made, 0, std::as_bytes(std::span{text})));
        return made;
    }
    /// Puts the numbered packets on a wire that keeps nothing.
    void supply()
    {
        if (station_)
            for (std::size_t i = 0; i != supplied; ++i)
                REQUIRE(station_->send(numbered_payload(i)));
    }
    /// One packet more; not where a file has them all, or the driver makes them up.
    void supply_one() { supply_one(numbered_payload(supplied)); }
    void supply_one(std::string_view text)
    {
        if (in_)
            must(in_->enqueue(packet(text)));
        if (station_)
            must(station_->send(text));
    }
    /// Frees what waits on the wire.
    void drain()
    {
        for (auto* ring : {&in_, &out_})
            for (mbuf* packet = nullptr; *ring && (*ring)->dequeue(packet);)
                free(packet);
    }

private:
    /// What threads of a test call as well, which Catch's macros do not bear.
    static void must(bool holds)
    {
        if (!holds)
            throw std::runtime_error{"a wired port cannot be supplied"};
    }
    [[nodiscard]] std::size_t at_device() const
    {
        for (const auto& pool : audit(domain_->mapping()).pools)
            if (pool.name == "packets")
                return pool.at_devices;
        return 0;
    }
    /// Puts something on the other side; returns the port's spec.
    std::string wire()
    {
        if (driver_ == "null")
            return "null:size=" + std::to_string(packet_bytes);
        if (driver_ == "ring")
            return wire_rings();
        if (driver_ == "af_packet")
            return "af_packet:iface=near";
        if (driver_ == "af_xdp")
            return "af_xdp:iface=near";
        if (driver_ == "tap") {
            scratch_network::make_silent_tap("tap");
            return "tap:iface=tap";
        }
        return wire_files();
    }
    std::string wire_rings()
    {
        in_ = domain_->create_ring<mbuf*>("in", 64);
        out_ = domain_->create_ring<mbuf*>("out", 64);
        for (std::size_t i = 0; i != supplied; ++i)
            REQUIRE(in_->enqueue(packet(i)));
        return "ring:rx=in,tx=out";
    }
    std::string wire_files()
    {
        auto capture = capture_bytes::pcap();
        for (std::size_t i = 0; i != supplied; ++i)
            capture.record(i, numbered_payload(i));
        const auto in = directory_.path() / "in.pcap";
        std::ofstream{in, std::ios::binary} << capture.text();
        return "pcap:rx=" + in.string() + ",tx=" + (directory_.path() / "out.pcap").string();
    }

    std::string driver_;
    std::unique_ptr<scratch_network> network_;  // before anything that is to be in it
    scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_;
    pktmbuf_pool pool_;
    std::optional<ring<mbuf*>> in_;
    std::optional<ring<mbuf*>> out_;
    cohort::port port_;
    std::unique_ptr<raw_station> station_;  // on the other side of an interface
};

/// A port at which nothing waits any more. REQUIRES: a driver that makes no packets up.
struct empty_port : wired_port {
    explicit empty_port(const std::string& driver) : wired_port{driver}
    {
        free_bulk(receive(supplied));
        REQUIRE(receive_now(port()) == 0);
    }
};

}  // namespace cohort::test
