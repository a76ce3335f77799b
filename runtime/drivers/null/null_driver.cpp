#include "null_driver.hpp"

#include "cohort/base/error.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr std::array<std::string_view, 4> null_option_keys{"size", "copy", "no-rx", "queues"};
constexpr std::uint64_t largest_packet = 65'535 - mbuf_headroom;

class null_io final : public port_io {
public:
    explicit null_io(port_layout& port)
        : port_{port}
        , size_{static_cast<std::uint16_t>(port.driver_words[null_word::packet_size])}
        , copies_{port.driver_words[null_word::copy] != 0}
        , silent_{port.driver_words[null_word::no_rx] != 0}
        , dummy_(largest_packet)
    {
    }

    bool open_rx(std::uint16_t queue, mempool_layout* pool) noexcept override
    {
        if (!pool)
            return false;
        pools_[queue].emplace(*pool);
        return true;
    }
    bool open_tx(std::uint16_t) noexcept override { return true; }

    [[nodiscard]] rx_outlook arm_rx(std::uint16_t) noexcept override
    {
        return silent_ ? rx_outlook::silent : rx_outlook::ready;
    }
    std::size_t rx_burst(std::uint16_t queue, std::span<mbuf*> packets) noexcept override
    {
        auto& shared = port_.rx[queue];
        const auto burst = packets.first(silent_ ? 0 : std::min(packets.size(), max_port_burst));
        if (burst.empty())
            return 0;
        if (!pools_[queue]->alloc_bulk(burst)) {
            count_up(shared.no_buffer, 1);
            return 0;
        }
        for (auto* packet : burst) {
            packet->data_len = size_;
            packet->pkt_len = size_;
            packet->port = port_.index;
            if (copies_)
                std::memcpy(packet->data<std::byte>(), dummy_.data(), size_);
        }
        count_up(shared.packets, burst.size());
        count_up(shared.bytes, burst.size() * size_);
        return burst.size();
    }

    std::size_t tx_burst(std::uint16_t queue, std::span<mbuf* const> packets) noexcept override
    {
        auto& shared = port_.tx[queue];
        std::uint64_t bytes = 0;
        for (auto* packet : packets) {
            bytes += packet->pkt_len;
            if (copies_)
                drain(*packet);
        }
        free_bulk(packets);
        count_up(shared.packets, packets.size());
        count_up(shared.bytes, bytes);
        return packets.size();
    }

private:
    /// Each queue has its owner, and `sink_` is its own.
    void drain(const mbuf& packet) noexcept
    {
        alignas(cache_line_bytes) std::array<std::byte, 256> sink;
        for (std::size_t at = 0; at < packet.pkt_len; at += sink.size())
            static_cast<void>(read(
                packet, at, std::span{sink}.first(std::min(sink.size(), packet.pkt_len - at))));
    }

    port_layout& port_;
    std::uint16_t size_;
    bool copies_;
    bool silent_;
    std::vector<std::byte> dummy_;
    std::array<std::optional<pktmbuf_pool>, max_port_queues> pools_;
};

class null_driver final : public port_driver {
public:
    void create(port_layout& port, const port_request& request, port_host&) const override
    {
        const auto options = request.options;
        check_option_keys("null", options, null_option_keys);
        const auto size = number_option("null", options, "size", 64, {0, largest_packet});
        const auto queues = number_option("null", options, "queues", 1, {1, max_port_queues});
        port.driver_words[null_word::packet_size] = size;
        port.driver_words[null_word::copy] = number_option("null", options, "copy", 0, {0, 1});
        port.driver_words[null_word::no_rx] = number_option("null", options, "no-rx", 0, {0, 1});
        port.rx_queues = static_cast<std::uint16_t>(queues);
        port.tx_queues = static_cast<std::uint16_t>(queues);
        port.limits.min_rx_buffer = static_cast<std::uint32_t>(size);
    }
    [[nodiscard]] std::unique_ptr<port_io> open(port_layout& port, port_host&) const override
    {
        return std::make_unique<null_io>(port);
    }
};

}  // namespace

void register_null_driver()
{
    register_port_driver("null", std::make_unique<null_driver>());
}

}  // namespace cohort
