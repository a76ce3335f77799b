#pragma once
// What is done with a port in a measurement, written once for both sides. A side is a type with
//   Side(const port_setup&)                  makes the port; it goes with the object
//   std::size_t receive(packet**, n), send(packet**, n)
//   bool alloc(packet**, n, bytes), void free(packet**, n)
// so that each loop is compiled together with the side it drives.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <immintrin.h>

namespace cohort::bench {

inline constexpr std::uint32_t port_pool_count = 8191;
inline constexpr std::uint32_t port_pool_cache = 256;
inline constexpr std::uint16_t port_burst = 32;
inline constexpr std::uint16_t port_descriptors = 1024;

/// What to make, in the words of each side.
struct port_setup {
    std::string ours;
    std::string dpdk_driver;  ///< "net_null"
    std::string dpdk_options;
};

/// A port that is being measured.
class measured_port {
public:
    virtual ~measured_port() = default;
    /// Puts a burst into a port that gives back what it is given.
    virtual void prime(std::uint32_t bytes) = 0;
    /// Sends what it receives, until so many have passed.
    virtual void forward(std::uint64_t packets) = 0;
    /// Sends so many packets of that length.
    virtual void send(std::uint64_t packets, std::uint32_t bytes) = 0;
    /// Receives and frees so many, which are there.
    virtual void receive(std::uint64_t packets) = 0;
};

struct port_kind {
    std::string name;  ///< ours, dpdk
    std::unique_ptr<measured_port> (*make)(const port_setup& setup);
};

namespace detail {

template <typename Side>
class measured_port_of final : public measured_port {
public:
    explicit measured_port_of(const port_setup& setup) : side_{setup} {}

    void prime(std::uint32_t bytes) override
    {
        burst packets;
        while (!side_.alloc(packets.data(), port_burst, bytes))
            _mm_pause();
        send_all(packets.data(), port_burst);
    }
    void forward(std::uint64_t total) override
    {
        burst packets;
        for (std::uint64_t passed = 0; passed < total;) {
            const auto count = side_.receive(packets.data(), port_burst);
            send_all(packets.data(), count);
            passed += count;
        }
    }
    void send(std::uint64_t total, std::uint32_t bytes) override
    {
        burst packets;
        for (std::uint64_t sent = 0; sent < total; sent += port_burst) {
            while (!side_.alloc(packets.data(), port_burst, bytes))
                side_.send(packets.data(), 0);  // some drivers free what was sent only when asked
            send_all(packets.data(), port_burst);
        }
    }
    void receive(std::uint64_t total) override
    {
        burst packets;
        for (std::uint64_t received = 0; received < total;) {
            const auto count = side_.receive(packets.data(), port_burst);
            side_.free(packets.data(), count);
            received += count;
        }
    }

private:
    using burst = std::array<typename Side::packet*, port_burst>;

    void send_all(typename Side::packet** packets, std::size_t count)
    {
        for (std::size_t sent = 0; sent != count;)
            sent += side_.send(packets + sent, count - sent);
    }

    Side side_;
};

template <typename Side>
port_kind port_kind_of(std::string name)
{
    return {std::move(name), [](const port_setup& setup) -> std::unique_ptr<measured_port> {
                return std::make_unique<measured_port_of<Side>>(setup);
            }};
}

}  // namespace detail

/// Empty when the benchmarks were built without DPDK's headers.
[[nodiscard]] std::vector<port_kind> dpdk_ports();

}  // namespace cohort::bench
