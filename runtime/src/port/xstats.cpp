#include "cohort/port/xstats.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort {

std::vector<xstat> xstats(const port& of)
{
    const auto rx = of.rx_stats();
    const auto tx = of.tx_stats();
    std::vector<xstat> all{
        {"rx_good_packets", rx.packets}, {"tx_good_packets", tx.packets},
        {"rx_good_bytes", rx.bytes},     {"tx_good_bytes", tx.bytes},
        {"rx_missed_errors", rx.missed}, {"rx_errors", rx.errors},
        {"tx_errors", tx.errors},        {"rx_mbuf_allocation_errors", rx.no_buffer}};
    for (std::uint16_t i = 0; i != of.rx_queues(); ++i) {
        const auto queue = of.rx_stats(i);
        all.push_back({fmt::format("rx_q{}_packets", i), queue.packets});
        all.push_back({fmt::format("rx_q{}_bytes", i), queue.bytes});
        all.push_back({fmt::format("rx_q{}_errors", i), queue.errors});
    }
    for (std::uint16_t i = 0; i != of.tx_queues(); ++i) {
        const auto queue = of.tx_stats(i);
        all.push_back({fmt::format("tx_q{}_packets", i), queue.packets});
        all.push_back({fmt::format("tx_q{}_bytes", i), queue.bytes});
    }
    return all;
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
