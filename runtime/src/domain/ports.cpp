// Ports by name.

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/domain/domain.hpp"
#include "entry_scopes.hpp"

#include <optional>

#include <fmt/format.h>

namespace cohort {

port domain::create_port(std::string_view name, std::string_view spec, const port_options& options)
{
    const auto [driver, driver_options] = parse_port_spec(spec);
    const auto& chosen = find_port_driver(driver);
    mempool_layout* pool = nullptr;
    if (!options.rx_pool.empty() && !(pool = find_pool_layout(options.rx_pool, pool_kind::pktmbuf)))
        throw error{errc::invalid_argument,
                    fmt::format("port \"{}\" names the pool \"{}\", which {}", name,
                                options.rx_pool,
                                memory_.find(zone_kind::mempool, options.rx_pool)
                                    ? "has no packets; create one with create_pktmbuf_pool"
                                    : "does not exist; create it first")};
    if (driver_options.size() > decltype(port_layout::options)::max_length)
        throw error{errc::name_too_long,
                    fmt::format("the options of port \"{}\" take {} bytes but {} fit", name,
                                driver_options.size(), decltype(port_layout::options)::max_length)};
    new_entry entry{
        memory_, {.name = name, .kind = zone_kind::port, .bytes = sizeof(port_layout)}, who()};
    auto& layout = *::new (entry.data()) port_layout;
    layout.begin_at(monotonic_ns());
    layout.index = entry.index();
    layout.driver = fixed_name<16>{driver};
    layout.options = fixed_name<2048>{driver_options};
    layout.magic = port_layout::magic_value;
    chosen.create(layout,
                  {.options = driver_options,
                   .pool = pool,
                   .rx_descriptors = options.rx_descriptors,
                   .tx_descriptors = options.tx_descriptors},
                  port_host_);
    secure_device_pool(layout, name);
    for (std::uint16_t i = 0; i != layout.rx_queues; ++i)
        set_up(layout, layout.rx[i],
               rx_queue_setup{.pool = pool,
                              .descriptors = options.rx_descriptors,
                              .drop_on_empty_pool = options.drop_on_empty_pool});
    for (std::uint16_t i = 0; i != layout.tx_queues; ++i)
        set_up(layout, layout.tx[i], tx_queue_setup{.descriptors = options.tx_descriptors});
    COHORT_FAULT_POINT("port.made");
    port opened{layout, port_host_};
    opened.start();
    port_host_.deposit(layout);
    COHORT_FAULT_POINT("port.deposited");
    entry.publish();
    opened.prime();
    return opened;
}

/// From here on the pool is not destroyed.
void domain::secure_device_pool(const port_layout& port, std::string_view name)
{
    if (port.device_pool == 0)
        return;
    const recovery_lock_guard guard{region_.layout().recovery.lock, who(), membership_, name};
    if (!memory_.layout().zones[port.device_pool - 1].is_live())
        throw error{errc::invalid_argument,
                    fmt::format("port \"{}\" is not made: its pool has just been destroyed", name)};
}

std::optional<port> domain::find_port(std::string_view name)
{
    auto* zone = memory_.find(zone_kind::port, name);
    if (!zone)
        return std::nullopt;
    auto& layout = *static_cast<port_layout*>(zone->data());
    const auto phase = port_phase::unpack(layout.phase.load(std::memory_order_acquire));
    if (phase.state == port_state::closing && !membership_.liveness().is_dead(phase.closer))
        return std::nullopt;
    return port{layout, port_host_};
}

port_capture domain::capture_port(std::string_view name, std::uint32_t snap_length)
{
    port_layout* port = nullptr;
    auto capture = [&] {
        const recovery_lock_guard nothing_goes{region_.layout().recovery.lock, who(), membership_,
                                               name};
        auto* zone = memory_.find(zone_kind::port, name);
        if (!zone)
            throw error{errc::not_found,
                        fmt::format("there is no port \"{}\"; \"cohort ports\" lists them", name)};
        port = static_cast<port_layout*>(zone->data());
        return port_capture{*port, name};  // from here on the port is not destroyed
    }();
    auto* streams = memory_.find(zone_kind::capture, name);
    if (!streams) {
        new_entry entry{memory_,
                        {.name = name, .kind = zone_kind::capture, .bytes = capture_bytes(*port)},
                        who()};
        auto& made = *::new (entry.data()) capture_layout;
        made.streams = std::uint32_t{port->rx_queues} + port->tx_queues;
        made.magic = capture_layout::magic_value;
        COHORT_FAULT_POINT("port.capture_made");
        streams = &entry.publish();
    }
    capture.begin(*static_cast<capture_layout*>(streams->data()),
                  static_cast<std::uint32_t>(memory_.index_of(*streams)), snap_length);
    COHORT_FAULT_POINT("port.captured");
    return capture;
}

namespace {

void let_go_of_device(port_layout& port, port_host& host, std::string_view name)
{
    try {
        find_port_driver(port.driver.view()).let_go(port, host);
    } catch (const error& refused) {
        log(log_level::warning, "port \"{}\" goes but its device may stay: {}", name,
            refused.what());
    }
    COHORT_FAULT_POINT("port.let_go");
}

}  // namespace

bool domain::destroy_port(std::string_view name)
{
    memzone_layout* zone = nullptr;
    std::optional<port_closing> closing;
    {
        const recovery_lock_guard nothing_goes{region_.layout().recovery.lock, who(), membership_,
                                               name};
        zone = memory_.find(zone_kind::port, name);
        if (!zone)
            return false;
        closing.emplace(*static_cast<port_layout*>(zone->data()), name);
    }
    closing->take_all(name);
    let_go_of_device(*static_cast<port_layout*>(zone->data()), port_host_, name);
    destroy(zone_kind::capture, name);
    COHORT_FAULT_POINT("port.capture_gone");
    const bool gone = destroy(*zone);
    if (gone)
        closing->complete();
    port_host_.forget_gone();
    return gone;
}

}  // namespace cohort
