#include "ring_driver.hpp"

#include "cohort/base/error.hpp"
#include "cohort/port/port_driver.hpp"
#include "cohort/port/port_host.hpp"
#include "cohort/ring/ring.hpp"
#include "ring_watch.hpp"

#include <array>
#include <memory>
#include <optional>

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr std::array<std::string_view, 2> ring_option_keys{"rx", "tx"};

using namespace detail;

using packet_ring = ring<mbuf*>;

bool carries_mbufs(const ring_layout& layout) noexcept
{
    return layout.published == packet_ring::published &&
           layout.custody_offset == mbuf_custody_offset;
}

class ring_io final : public port_io {
public:
    ring_io(port_layout& port, port_host& host) : port_{port}, memory_{host.segments().layout()} {}

    bool open_rx(std::uint16_t queue, mempool_layout*) noexcept override
    {
        return open(port_.rx[queue], rx_[queue]);
    }
    bool open_tx(std::uint16_t queue) noexcept override
    {
        return open(port_.tx[queue], tx_[queue]);
    }

    [[nodiscard]] rx_outlook arm_rx(std::uint16_t queue) noexcept override
    {
        const ring_source ring{port_.rx[queue], memory_};
        if (!ring.is_there())
            return rx_outlook::silent;
        if (ring.layout().count() != 0)
            return rx_outlook::ready;
        if (watches_[queue])
            watches_[queue]->acknowledge();
        return rx_outlook::waiting;
    }
    void sleep_rx(std::uint16_t queue, deadline until) noexcept override
    {
        ring_source{port_.rx[queue], memory_}.sleep(until);
    }
    /// The port calls it once before it uses what it returns.
    [[nodiscard]] int rx_descriptor(std::uint16_t queue) override
    {
        auto& watch = watches_[queue];
        if (!watch)
            watch = std::make_unique<ring_watch>(ring_source{port_.rx[queue], memory_});
        return watch->fd();
    }

    std::size_t rx_burst(std::uint16_t queue, std::span<mbuf*> packets) noexcept override
    {
        auto& shared = port_.rx[queue];
        const auto count = rx_[queue]->dequeue_burst(packets);
        std::uint64_t bytes = 0;
        for (auto* packet : packets.first(count)) {
            packet->port = port_.index;
            bytes += packet->pkt_len;
        }
        count_up(shared.packets, count);
        count_up(shared.bytes, bytes);
        return count;
    }

    std::size_t tx_burst(std::uint16_t queue, std::span<mbuf* const> packets) noexcept override
    {
        auto& shared = port_.tx[queue];
        std::array<std::uint32_t, max_port_burst> lengths;  // afterwards they are somebody else's
        const auto burst = packets.first(std::min(packets.size(), max_port_burst));
        for (std::size_t i = 0; i != burst.size(); ++i)
            lengths[i] = burst[i]->pkt_len;
        const auto count = tx_[queue]->enqueue_burst(burst);
        std::uint64_t bytes = 0;
        for (std::size_t i = 0; i != count; ++i)
            bytes += lengths[i];
        count_up(shared.packets, count);
        count_up(shared.bytes, bytes);
        return count;
    }

private:
    bool open(const port_queue_layout& queue, std::optional<packet_ring>& ring) noexcept
    {
        const ring_source source{queue, memory_};
        if (!source.is_there())
            return false;
        ring.emplace(source.layout());
        return true;
    }

    port_layout& port_;
    memory_layout& memory_;
    std::array<std::optional<packet_ring>, max_port_queues> rx_;
    std::array<std::optional<packet_ring>, max_port_queues> tx_;
    std::array<std::unique_ptr<ring_watch>, max_port_queues> watches_;
};

/// Notes for each queue which ring it is. Returns how many there are.
std::uint16_t bind_queues(std::span<port_queue_layout> queues,
                          const std::vector<std::string>& names, port_host& host)
{
    if (names.size() > queues.size())
        throw error{errc::invalid_argument,
                    fmt::format("a ring port has at most {} queues a direction, not {}",
                                queues.size(), names.size())};
    for (std::size_t i = 0; i != names.size(); ++i) {
        auto& segments = host.segments();
        const auto* zone = segments.find(zone_kind::ring, names[i]);
        if (!zone)
            throw error{errc::invalid_argument,
                        fmt::format("a ring port names the ring \"{}\", which does not exist; "
                                    "create it first",
                                    names[i])};
        if (!carries_mbufs(*static_cast<const ring_layout*>(zone->data())))
            throw error{errc::invalid_argument,
                        fmt::format("\"{}\" does not carry packets; create it as a ring of mbuf*",
                                    names[i])};
        queues[i].aux[queue_word::entry].store(segments.index_of(*zone),
                                               std::memory_order_relaxed);  // not published yet
        queues[i].aux[queue_word::generation].store(zone->word().generation,
                                                    std::memory_order_relaxed);  // nor this
    }
    return static_cast<std::uint16_t>(names.size());
}

class ring_driver final : public port_driver {
public:
    void create(port_layout& port, const port_request& request, port_host& host) const override
    {
        check_option_keys("ring", request.options, ring_option_keys);
        const auto rx = option_values(request.options, "rx");
        const auto tx = option_values(request.options, "tx");
        if (rx.empty() && tx.empty())
            throw error{errc::invalid_argument, "a ring port needs rx=RING, tx=RING or both"};
        port.rx_queues = bind_queues(port.rx, rx, host);
        port.tx_queues = bind_queues(port.tx, tx, host);
    }
    [[nodiscard]] std::unique_ptr<port_io> open(port_layout& port, port_host& host) const override
    {
        return std::make_unique<ring_io>(port, host);
    }
};

}  // namespace

void register_ring_driver()
{
    register_port_driver("ring", std::make_unique<ring_driver>());
}

}  // namespace cohort
