#include "cohort/port/port_driver.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <mutex>

#include <fmt/format.h>

#include <poll.h>

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

/// A driver whose descriptor may not be had has a sleep of its own.
void port_io::sleep_rx(std::uint16_t queue, deadline until) noexcept
{
    pollfd waited{.fd = rx_descriptor(queue), .events = POLLIN, .revents = 0};  // -1 is left out
    ::poll(&waited, 1, milliseconds_left(until));
}

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

std::vector<std::string> option_values(std::string_view options, std::string_view key)
{
    std::vector<std::string> found;
    for_each_option(options, [&](std::string_view item) {
        if (item.size() > key.size() && item.starts_with(key) && item[key.size()] == '=')
            found.emplace_back(item.substr(key.size() + 1));
    });
    return found;
}

std::uint64_t number_option(std::string_view driver, std::string_view options, std::string_view key,
                            std::uint64_t otherwise, number_range allowed)
{
    const auto text = option_value(options, key);
    if (text.empty())
        return otherwise;
    std::uint64_t value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault != std::errc{} || end != text.data() + text.size() || value < allowed.least ||
        value > allowed.most)
        throw error{errc::invalid_argument,
                    fmt::format("{}={} of a {} port must be a number from {} to {}", key, text,
                                driver, allowed.least, allowed.most)};
    return value;
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

}  // namespace cohort
