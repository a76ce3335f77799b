#include "cohort/ipc/reports.hpp"
#include "cohort/port/port_layout.hpp"

#include <algorithm>
#include <span>

namespace cohort::ipc {

table list_ports(const region_layout& region)
{
    table shown{{"port", "driver", "rx_queues", "tx_queues", "rx_packets", "rx_bytes", "tx_packets",
                 "tx_bytes", "errors", "no_buffer"},
                {}};
    for_each_live(region.memory, zone_kind::port, [&](const memzone_layout& zone) {
        const auto& port = *static_cast<const port_layout*>(zone.data());
        const std::span rx{port.rx, std::min<std::size_t>(port.rx_queues, max_port_queues)};
        const std::span tx{port.tx, std::min<std::size_t>(port.tx_queues, max_port_queues)};
        const auto sum = [](std::span<const port_queue_layout> queues, auto counter) {
            std::uint64_t all = 0;
            for (const auto& queue : queues)
                all += (queue.*counter).load(std::memory_order_relaxed);  // for display
            return all;
        };
        using queue = port_queue_layout;
        shown.rows.push_back(
            {zone.name.view(), port.driver.view(), rx.size(), tx.size(), sum(rx, &queue::packets),
             sum(rx, &queue::bytes), sum(tx, &queue::packets), sum(tx, &queue::bytes),
             sum(rx, &queue::errors) + sum(tx, &queue::errors), sum(rx, &queue::no_buffer)});
    });
    std::sort(shown.rows.begin(), shown.rows.end());
    return shown;
}

}  // namespace cohort::ipc
