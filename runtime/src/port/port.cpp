#include "cohort/port/port.hpp"

#include "cohort/base/error.hpp"
#include "cohort/port/burst_journal.hpp"

#include <algorithm>
#include <map>
#include <mutex>

#include <fmt/format.h>

namespace cohort {
namespace {

struct driver_table {
    std::mutex mutex;
    std::map<std::string, std::unique_ptr<port_driver>, std::less<>> drivers;
};

driver_table& table()
{
    static driver_table instance;
    return instance;
}

}  // namespace

void register_port_driver(std::string_view name, std::unique_ptr<port_driver> driver)
{
    auto& all = table();
    const std::lock_guard guard{all.mutex};
    if (!all.drivers.emplace(std::string{name}, std::move(driver)).second)
        throw error{errc::exists,
                    fmt::format("a port driver named \"{}\" is registered already", name)};
}

const port_driver& find_port_driver(std::string_view name)
{
    auto& all = table();
    const std::lock_guard guard{all.mutex};
    if (const auto found = all.drivers.find(name); found != all.drivers.end())
        return *found->second;
    std::string known;
    for (const auto& [driver_name, driver] : all.drivers)
        known += (known.empty() ? "" : ", ") + driver_name;
    throw error{errc::invalid_argument,
                fmt::format("there is no port driver \"{}\"; this build has: {}", name, known)};
}

port_spec parse_port_spec(std::string_view text)
{
    const auto colon = text.find(':');
    if (colon == std::string_view::npos)
        return {std::string{text}, {}};
    return {std::string{text.substr(0, colon)}, std::string{text.substr(colon + 1)}};
}

namespace {

/// Calls `visit(item)` for each item between unescaped commas, escapes removed.
template <typename Visit>
void for_each_option(std::string_view options, Visit visit)
{
    std::string item;
    for (std::size_t i = 0; i != options.size(); ++i) {
        const bool escapes = options[i] == '\\' && i + 1 != options.size() &&
                             (options[i + 1] == ',' || options[i + 1] == '\\');
        if (escapes)
            item += options[++i];
        else if (options[i] != ',')
            item += options[i];
        else {
            visit(std::string_view{item});
            item.clear();
        }
    }
    if (!item.empty())
        visit(std::string_view{item});
}

}  // namespace

std::string option_value(std::string_view options, std::string_view key)
{
    std::string found;
    for_each_option(options, [&](std::string_view item) {
        if (found.empty() && item.size() > key.size() && item.starts_with(key) &&
            item[key.size()] == '=')
            found = item.substr(key.size() + 1);
    });
    return found;
}

std::string escape_option(std::string_view value)
{
    std::string escaped;
    for (const char c : value) {
        if (c == ',' || c == '\\')
            escaped += '\\';
        escaped += c;
    }
    return escaped;
}

void check_option_keys(std::string_view driver, std::string_view options,
                       std::span<const std::string_view> known)
{
    for_each_option(options, [&](std::string_view item) {
        const auto key = item.substr(0, item.find('='));
        if (key.size() != item.size() && std::find(known.begin(), known.end(), key) != known.end())
            return;
        throw error{errc::invalid_argument,
                    fmt::format("the {} port does not understand \"{}\"; it takes {}=VALUE", driver,
                                item, fmt::join(known, "=VALUE, "))};
    });
}

port::port(port_layout& layout, mempool_layout* rx_pool)
    : layout_{&layout}
    , io_{find_port_driver(layout.driver.view()).open(layout, rx_pool)}
{
}

port::claim port::claim_queue(port_queue_layout& queue) noexcept
{
    auto& self = membership_of(layout_);
    const auto me = self.lane();
    if (me == 0)
        return claim::none;
    if (queue.owner.holder() == me) [[likely]]
        return claim::kept;
    const auto ask = [&](lane_id lane) { return self.liveness().is_dead(lane); };
    return queue.owner.lock(me, deadline{}, ask) == lock_result::stalled ? claim::none
                                                                         : claim::fresh;
}

std::size_t port::rx_burst(std::uint16_t queue, std::span<mbuf*> packets) noexcept
{
    if (queue >= layout_->rx_queues)
        return 0;
    auto& shared = layout_->rx[queue];
    const auto claimed = claim_queue(shared);
    if (claimed == claim::fresh) {
        settle(shared, port_direction::rx);
        if (!io_->open_rx(queue)) {
            shared.owner.unlock();
            return 0;
        }
    }
    return claimed == claim::none ? 0 : io_->rx_burst(queue, packets);
}

std::size_t port::tx_burst(std::uint16_t queue, std::span<mbuf* const> packets) noexcept
{
    if (queue >= layout_->tx_queues)
        return 0;
    auto& shared = layout_->tx[queue];
    const auto claimed = claim_queue(shared);
    if (claimed == claim::fresh) {
        settle(shared, port_direction::tx);
        if (!io_->open_tx(queue)) {
            shared.owner.unlock();
            return 0;
        }
    }
    return claimed == claim::none ? 0 : io_->tx_burst(queue, packets);
}

bool port::rx_ended(std::uint16_t queue) const noexcept
{
    return queue < layout_->rx_queues &&
           layout_->rx[queue].ended.load(std::memory_order_acquire) != 0;
}

void scrub(port_layout& port, lane_id lane) noexcept
{
    for (auto& queue : port.rx) {
        unmark_for_dead(queue, port_direction::rx, lane);
        queue.owner.release_of(lane);
    }
    for (auto& queue : port.tx) {
        unmark_for_dead(queue, port_direction::tx, lane);
        queue.owner.release_of(lane);
    }
}

}  // namespace cohort
