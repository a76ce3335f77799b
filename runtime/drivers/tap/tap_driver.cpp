#include "tap_driver.hpp"

#include "cohort/base/error.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"
#include "cohort/port/port_host.hpp"
#include "interface_view.hpp"
#include "queue_io.hpp"
#include "queue_words.hpp"
#include "tap_device.hpp"
#include "tap_interface.hpp"
#include "tap_queue.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace cohort {
namespace {

using namespace detail;

constexpr std::array<std::string_view, 6> tap_option_keys{"iface", "queues", "persist",
                                                          "mac",   "mtu",    "offload"};
constexpr std::size_t files_beside_queues = 2;  // a socket to look at the interface, its counts
constexpr number_range tap_mtu{68, 65'521};     // the kernel's

class tap_io final : public queue_io<tap_rx, tap_tx> {
public:
    /// A descriptor for each queue, a view, and the kernel's counts.
    tap_io(port_layout& port, std::vector<file_descriptor> files)
        : port_{port}
        , interface_{static_cast<int>(port.driver_words[tap_word::interface_index])}
        , view_{std::move(files[files.size() - 2])}
        , counts_{std::move(files.back())}
    {
        files.resize(files.size() - files_beside_queues);
        for (std::size_t i = 0; i != files.size(); ++i) {
            rx_.emplace_back(port, port.rx[i], files[i].get());
            tx_.emplace_back(port, port.tx[i], files[i].get());
        }
        queues_ = std::move(files);
    }

    /// The kernel counts by interface: what it drops appears at queue 0.
    [[nodiscard]] bool look_at_drops() noexcept override
    {
        dropped_ = dropped_frames(counts_.get(), tap_name(queues_[0].get())).value_or(dropped_);
        return dropped_ != counted_;
    }
    void count_drops() noexcept override
    {
        count_drops_since(port_.rx[0], tap_queue_word::drops, dropped_);
        counted_ = dropped_;
    }

    [[nodiscard]] std::optional<port_link> link() noexcept override
    {
        return look_at_interface(view_.get(), interface_);
    }

private:
    port_layout& port_;
    int interface_;
    std::vector<file_descriptor> queues_;
    file_descriptor view_;
    file_descriptor counts_;
    std::uint64_t dropped_ = 0;  // as the kernel said last
    std::uint64_t counted_ = 0;  // of these, by this object
};

class tap_driver final : public port_driver {
public:
    void create(port_layout& port, const port_request& request, port_host& host) const override;
    [[nodiscard]] std::unique_ptr<port_io> open(port_layout& port, port_host& host) const override
    {
        auto files = host.files_of(port);
        if (files.size() != port.rx_queues + files_beside_queues)
            throw error{errc::stalled,
                        fmt::format("the port has {} descriptors but {} came from the members that "
                                    "have them; is one of them stopped?",
                                    port.rx_queues + files_beside_queues, files.size())};
        if (port.driver_words[tap_word::persist] != 0)
            keep_tap(files[0]);
        return std::make_unique<tap_io>(port, std::move(files));
    }
    void let_go(port_layout& port, port_host& host) const override
    {
        auto files = host.files_of(port);
        if (files.size() == port.rx_queues + files_beside_queues)
            files.resize(port.rx_queues);
        for (const auto& file : files)
            detach_tap(file);
    }
};

void tap_driver::create(port_layout& port, const port_request& request, port_host& host) const
{
    const auto options = request.options;
    check_option_keys("tap", options, tap_option_keys);
    const auto queues = number_option("tap", options, "queues", 1, {1, max_port_queues});
    const auto persist = number_option("tap", options, "persist", 0, {0, 1});
    const auto offload = number_option("tap", options, "offload", 0, {0, 1});
    interface_settings wanted;
    if (const auto mac = option_value(options, "mac"); !mac.empty())
        wanted.mac = parse_mac(mac);
    if (!option_value(options, "mtu").empty())
        wanted.mtu = static_cast<std::uint32_t>(number_option("tap", options, "mtu", 0, tap_mtu));

    const auto name = option_value(options, "iface");
    auto files = open_tap(name, queues, offload != 0);
    const int index = set_up_interface(name, wanted);
    files.push_back(open_view(view_kind::datagram));
    const auto state = look_at_present_interface(files.back().get(), index);
    files.push_back(open_interface_counts());

    port.driver_words[tap_word::persist] = persist;
    port.driver_words[tap_word::offload] = offload;
    port.driver_words[tap_word::interface_index] = static_cast<std::uint64_t>(index);
    port.rx_queues = static_cast<std::uint16_t>(queues);
    port.tx_queues = static_cast<std::uint16_t>(queues);
    port.mtu = state.mtu;
    std::copy(state.mac.begin(), state.mac.end(), std::begin(port.mac));
    port.limits.min_rx_buffer = static_cast<std::uint32_t>(
        (longest_frame(state.mtu) + most_tap_segments - 1) / most_tap_segments);
    port.rx[0].aux[tap_queue_word::drops].store(
        dropped_frames(files.back().get(), name).value_or(0),
        std::memory_order_relaxed);  // not published yet
    host.keep(host.key_of(port), std::move(files));
}

}  // namespace

void register_tap_driver()
{
    register_port_driver("tap", std::make_unique<tap_driver>());
}

}  // namespace cohort
