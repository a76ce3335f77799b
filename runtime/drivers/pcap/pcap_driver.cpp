#include "pcap_driver.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"
#include "interface_view.hpp"
#include "pcap_file.hpp"
#include "pcap_live.hpp"
#include "pcap_options.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <net/if.h>

namespace cohort {
namespace {

using namespace detail;
using namespace pcap_word;

constexpr std::array<std::string_view, 11> option_keys{
    "rx",       "tx",   "rx_iface", "tx_iface",    "iface", "loops",
    "linktype", "rate", "snaplen",  "promiscuous", "format"};
constexpr std::uint64_t most_loops = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t most_link_types = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t most_pcapng_types = std::numeric_limits<std::uint16_t>::max();

/// Where the queues end: in files, or at an interface.
class pcap_io final : public port_io {
public:
    explicit pcap_io(port_layout& port)
    {
        const auto options = port.options.view();
        if (!option_value(options, "rx").empty())
            rx_ = std::make_unique<file_rx>(port);
        else if (!option_value(options, "rx_iface").empty())
            rx_ = std::make_unique<live_rx>(port);
        if (!option_value(options, "tx").empty())
            file_tx_ = std::make_unique<file_tx>(port);
        else if (!option_value(options, "tx_iface").empty())
            live_tx_ = std::make_unique<live_tx>(port);
        if (const auto seen = interface_option(options); !seen.empty()) {
            view_ = open_view(view_kind::datagram);
            interface_ = static_cast<int>(::if_nametoindex(seen.c_str()));
        }
    }

    bool open_rx(std::uint16_t, mempool_layout* pool) noexcept override { return rx_->open(pool); }
    bool open_tx(std::uint16_t) noexcept override
    {
        return file_tx_ ? file_tx_->open() : live_tx_->open();
    }
    [[nodiscard]] rx_outlook arm_rx(std::uint16_t) noexcept override { return rx_->arm(); }
    [[nodiscard]] int rx_descriptor(std::uint16_t) override { return rx_->descriptor(); }
    std::size_t rx_burst(std::uint16_t, std::span<mbuf*> packets) noexcept override
    {
        return rx_->burst(packets);
    }
    std::size_t tx_burst(std::uint16_t, std::span<mbuf* const> packets) noexcept override
    {
        return file_tx_ ? file_tx_->burst(packets) : live_tx_->burst(packets);
    }
    [[nodiscard]] std::optional<port_link> link() noexcept override
    {
        return view_ ? std::optional{look_at_interface(view_.get(), interface_)} : std::nullopt;
    }

private:
    std::unique_ptr<captured_rx> rx_;
    std::unique_ptr<file_tx> file_tx_;
    std::unique_ptr<live_tx> live_tx_;
    file_descriptor view_;
    int interface_ = 0;
};

port_link look_at(const std::string& name)
{
    return look_at_present_interface(open_view(view_kind::datagram).get(),
                                     static_cast<int>(::if_nametoindex(name.c_str())));
}

/// Refuses options that mean nothing beside the others, and what libpcap takes for an interface and
/// is none, as "any".
void check_combination(std::string_view options, const std::string& rx_iface,
                       const std::string& tx_iface)
{
    const auto given = [&](const char* key) { return !option_value(options, key).empty(); };
    const auto needs = [&](const char* key, bool has, const char* what) {
        if (given(key) && !has)
            throw error{errc::invalid_argument,
                        fmt::format("{}= of a pcap port needs {} beside it", key, what)};
    };
    needs("loops", given("rx"), "rx=FILE");
    needs("rate", given("rx"), "rx=FILE");
    needs("linktype", given("tx"), "tx=FILE");
    needs("format", given("tx"), "tx=FILE");
    needs("promiscuous", !rx_iface.empty(), "rx_iface=NAME");
    needs("snaplen", given("rx") || given("tx") || !rx_iface.empty(), "something to cut");
    if (given("iface") && given("rx_iface") && given("tx_iface"))
        throw error{errc::invalid_argument,
                    "a pcap port has rx_iface= and tx_iface=, or iface= for both"};
    for (const auto& name : {rx_iface, tx_iface})
        if (!name.empty() && ::if_nametoindex(name.c_str()) == 0)
            throw error{
                errc::not_found,
                fmt::format("there is no interface \"{}\" for a pcap port; see ip link", name)};
}

/// Members run in other directories, so they need the whole path. Throws for a file that is not
/// there.
std::string resolved(const std::string& path)
{
    std::unique_ptr<char, decltype(&std::free)> whole{::realpath(path.c_str(), nullptr),
                                                      &std::free};
    if (!whole)
        throw error{errc::bad_input,
                    fmt::format("cannot read \"{}\" as a capture: {}; name a pcap or pcapng file",
                                path, describe_errno(errno))};
    return whole.get();
}

class pcap_driver final : public port_driver {
public:
    void create(port_layout& port, const port_request& request, port_host&) const override;
    [[nodiscard]] std::unique_ptr<port_io> open(port_layout& port, port_host&) const override
    {
        return std::make_unique<pcap_io>(port);
    }
};

/// What a port is made of, and the options by which other members open it.
class pcap_set_up {
public:
    pcap_set_up(port_layout& port, std::string_view options)
        : port_{port}
        , given_{options}
        , snap_length_{snap_length_option(options)}
    {
    }

    void receive_from_file(const std::string& path);
    void receive_from_interface(const std::string& name);
    void send_to_file(const std::string& path);
    void send_to_interface(const std::string& name);
    void finish();

private:
    void add(std::string_view key, std::string_view value)
    {
        complete_ +=
            fmt::format("{}{}={}", complete_.empty() ? "" : ",", key, escape_option(value));
    }
    /// The same words for the members that open the port.
    void keep(std::string_view key)
    {
        if (const auto value = option_value(given_, key); !value.empty())
            add(key, value);
    }

    port_layout& port_;
    std::string_view given_;
    std::uint64_t snap_length_;
    std::string input_;
    std::string complete_;
};

void pcap_set_up::receive_from_file(const std::string& path)
{
    input_ = resolved(path);
    const auto facts = examine_capture(input_);
    if (facts.truncated)
        log(log_level::warning, "\"{}\" ends inside a record, after {} whole packets", path,
            facts.packets);
    static_cast<void>(gap_option(given_));  // throws
    port_.rx_queues = 1;
    port_.driver_words[rx_link_type] = facts.link_type;
    port_.driver_words[rx_snap_length] = std::min<std::uint64_t>(facts.snap_length, snap_length_);
    port_.driver_words[rx_packets] = facts.packets;
    port_.driver_words[rx_truncated] = facts.truncated;
    port_.driver_words[rx_loops] = number_option("pcap", given_, "loops", 1, {0, most_loops});
    add("rx", input_);
    add("loops", fmt::to_string(port_.driver_words[rx_loops]));
    keep("rate");
}

void pcap_set_up::receive_from_interface(const std::string& name)
{
    port_.rx_queues = 1;
    port_.driver_words[rx_link_type] = probe_interface(
        {.interface = name,
         .snap_length = snap_length_,
         .promiscuous = number_option("pcap", given_, "promiscuous", 0, {0, 1}) != 0,
         .receives = true});
    port_.driver_words[rx_snap_length] = snap_length_;
    add("rx_iface", name);
    keep("promiscuous");
}

void pcap_set_up::send_to_file(const std::string& path)
{
    const auto otherwise = port_.rx_queues == 0 ? 1 : port_.driver_words[rx_link_type];
    const auto format = format_option(given_);
    port_.driver_words[tx_link_type] =
        number_option("pcap", given_, "linktype", otherwise, {0, most_link_types});
    if (format == capture_format::pcapng && port_.driver_words[tx_link_type] > most_pcapng_types)
        throw error{errc::invalid_argument,
                    fmt::format("a pcapng file has no link type {}; leave out format=pcapng",
                                port_.driver_words[tx_link_type])};
    const capture_shape shape{.format = format,
                              .link_type =
                                  static_cast<std::uint32_t>(port_.driver_words[tx_link_type]),
                              .snap_length = static_cast<std::uint32_t>(snap_length_)};
    const auto file = create_capture(path, shape, input_);
    port_.driver_words[tx_mark] = file.mark;
    port_.tx_queues = 1;
    port_.tx[0].position.store(file.first_offset,
                               std::memory_order_relaxed);  // not published yet
    add("tx", file.path);
    keep("format");
}

void pcap_set_up::send_to_interface(const std::string& name)
{
    port_.driver_words[tx_link_type] = probe_interface({.interface = name});
    port_.tx_queues = 1;
    port_.mtu = look_at(name).mtu;  // a file would take any length
    add("tx_iface", name);
}

void pcap_set_up::finish()
{
    keep("snaplen");
    if (!decltype(port_.options)::fits(complete_))
        throw error{
            errc::name_too_long,
            fmt::format("the paths of a pcap port take {} bytes but {} fit; use shorter ones",
                        complete_.size(), decltype(port_.options)::max_length)};
    port_.options = decltype(port_.options){complete_};
    const auto name = interface_option(complete_);
    if (name.empty())
        return;
    const auto state = look_at(name);
    std::copy(state.mac.begin(), state.mac.end(), std::begin(port_.mac));
}

void pcap_driver::create(port_layout& port, const port_request& request, port_host&) const
{
    const auto options = request.options;
    check_option_keys("pcap", options, option_keys);
    const auto both = option_value(options, "iface");
    const auto end = [&](const char* file, const char* iface) {
        const auto path = option_value(options, file);
        auto name = option_value(options, iface);
        if (name.empty())
            name = both;
        if (!path.empty() && !name.empty())
            throw error{errc::invalid_argument,
                        fmt::format("a pcap port has {0}=FILE or {1}=NAME, not both: {0}={2} and "
                                    "the interface \"{3}\"",
                                    file, iface, path, name)};
        return std::pair{path, name};
    };
    const auto [rx, rx_iface] = end("rx", "rx_iface");
    const auto [tx, tx_iface] = end("tx", "tx_iface");
    if (rx.empty() && tx.empty() && rx_iface.empty() && tx_iface.empty())
        throw error{errc::invalid_argument,
                    "a pcap port needs rx=FILE, tx=FILE or both, or iface=NAME"};
    check_combination(options, rx_iface, tx_iface);

    pcap_set_up made{port, options};
    if (!rx.empty())
        made.receive_from_file(rx);
    if (!rx_iface.empty())
        made.receive_from_interface(rx_iface);
    if (!tx.empty())
        made.send_to_file(tx);
    if (!tx_iface.empty())
        made.send_to_interface(tx_iface);
    made.finish();
}

}  // namespace

void register_pcap_driver()
{
    register_port_driver("pcap", std::make_unique<pcap_driver>());
}

}  // namespace cohort
