#include "cohort/port/xstats.hpp"

#include <algorithm>
#include <atomic>
#include <span>

#include <fmt/format.h>

namespace cohort {

namespace {

/// `rx` and `tx` tell the counters of a queue by its number, or of all without one.
template <typename Rx, typename Tx>
std::vector<xstat> named(Rx rx_stats, std::size_t rx_queues, Tx tx_stats, std::size_t tx_queues)
{
    const port_stats rx = rx_stats();
    const port_stats tx = tx_stats();
    std::vector<xstat> all{
        {"rx_good_packets", rx.packets}, {"tx_good_packets", tx.packets},
        {"rx_good_bytes", rx.bytes},     {"tx_good_bytes", tx.bytes},
        {"rx_missed_errors", rx.missed}, {"rx_errors", rx.errors},
        {"tx_errors", tx.errors},        {"rx_mbuf_allocation_errors", rx.no_buffer}};
    for (std::size_t i = 0; i != rx_queues; ++i) {
        const port_stats queue = rx_stats(static_cast<std::uint16_t>(i));
        all.push_back({fmt::format("rx_q{}_packets", i), queue.packets});
        all.push_back({fmt::format("rx_q{}_bytes", i), queue.bytes});
        all.push_back({fmt::format("rx_q{}_errors", i), queue.errors});
    }
    for (std::size_t i = 0; i != tx_queues; ++i) {
        const port_stats queue = tx_stats(static_cast<std::uint16_t>(i));
        all.push_back({fmt::format("tx_q{}_packets", i), queue.packets});
        all.push_back({fmt::format("tx_q{}_bytes", i), queue.bytes});
    }
    return all;
}

}  // namespace

port_stats stats_of(const port_queue_layout& queue) noexcept
{
    const auto since = [&](const std::atomic<std::uint64_t>& counter, std::size_t i) {
        // The base first: it is where the counter stood before.
        const auto base = queue.base[i].load(std::memory_order_acquire);  // RESET
        return counter.load(std::memory_order_relaxed) - base;            // a count
    };
    return {since(queue.packets, 0), since(queue.bytes, 1), since(queue.missed, 2),
            since(queue.errors, 3), since(queue.no_buffer, 4)};
}

std::span<const port_queue_layout> queues_of(const port_layout& port,
                                             port_direction direction) noexcept
{
    const bool is_rx = direction == port_direction::rx;
    const std::size_t count = is_rx ? port.rx_queues : port.tx_queues;
    return std::span{is_rx ? port.rx : port.tx}.first(std::min(count, max_port_queues));
}

port_stats stats_of(const port_layout& port, port_direction direction) noexcept
{
    port_stats all;
    for (const auto& queue : queues_of(port, direction)) {
        const auto one = stats_of(queue);
        all.packets += one.packets;
        all.bytes += one.bytes;
        all.missed += one.missed;
        all.errors += one.errors;
        all.no_buffer += one.no_buffer;
    }
    return all;
}

std::vector<xstat> xstats(const port& of)
{
    return named([&](auto... queue) { return of.rx_stats(queue...); }, of.rx_queues(),
                 [&](auto... queue) { return of.tx_stats(queue...); }, of.tx_queues());
}

std::vector<xstat> xstats(const port_layout& of)
{
    // Counted once: it may have gone, and its memory be another's.
    const auto rx = queues_of(of, port_direction::rx);
    const auto tx = queues_of(of, port_direction::tx);
    const auto told = [&of](port_direction direction, auto queues) {
        return [&of, direction, queues](auto... queue) {
            if constexpr (sizeof...(queue) == 0)
                return stats_of(of, direction);
            else
                return stats_of(queues[(queue, ...)]);
        };
    };
    return named(told(port_direction::rx, rx), rx.size(), told(port_direction::tx, tx), tx.size());
}

std::optional<std::uint64_t> xstat_by_id(const port& of, std::size_t id)
{
    const auto all = xstats(of);
    return id < all.size() ? std::optional{all[id].value} : std::nullopt;
}

std::optional<std::size_t> find_xstat(const port& of, std::string_view name)
{
    const auto all = xstats(of);
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const xstat& each) { return each.name == name; });
    return found == all.end() ? std::nullopt
                              : std::optional{static_cast<std::size_t>(found - all.begin())};
}

}  // namespace cohort
