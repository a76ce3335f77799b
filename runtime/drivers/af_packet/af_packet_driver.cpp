#include "af_packet_driver.hpp"

#include "cohort/base/error.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"
#include "cohort/port/port_host.hpp"
#include "interface_view.hpp"
#include "packet_queue.hpp"
#include "queue_io.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include <fmt/format.h>

#include <sys/socket.h>

namespace cohort {
namespace {

using namespace detail;

constexpr std::array<std::string_view, 5> af_packet_option_keys{"iface", "queues", "promiscuous",
                                                                "qdisc_bypass", "timestamps"};
constexpr std::uint32_t most_frames = 16'384;

std::uint32_t af_packet_frames(std::uint32_t wanted, const port_limits& allowed)
{
    const auto count = wanted == 0 ? allowed.default_descriptors : wanted;
    if (count < allowed.min_descriptors || count > allowed.max_descriptors ||
        count % allowed.align_descriptors != 0)
        throw error{errc::invalid_argument,
                    fmt::format("an af_packet queue cannot have {} descriptors; choose {} to {}, a "
                                "multiple of {}",
                                count, allowed.min_descriptors, allowed.max_descriptors,
                                allowed.align_descriptors)};
    return count;
}

ring_shape shape_of(const port_layout& port) noexcept
{
    const auto& words = port.driver_words;
    return {.frame_bytes = static_cast<std::uint32_t>(words[af_packet_word::frame_bytes]),
            .block_bytes = static_cast<std::uint32_t>(words[af_packet_word::block_bytes]),
            .rx_frames = static_cast<std::uint32_t>(words[af_packet_word::rx_frames]),
            .tx_frames = static_cast<std::uint32_t>(words[af_packet_word::tx_frames])};
}

class af_packet_io final : public queue_io<packet_rx, packet_tx> {
public:
    af_packet_io(port_layout& port, std::vector<file_descriptor> sockets)
        : port_{port}
        , interface_{static_cast<int>(port.driver_words[af_packet_word::interface_index])}
    {
        const auto limits = frame_limits_of(port).value();
        for (std::size_t i = 0; i != sockets.size(); ++i) {
            auto& rings = rings_.emplace_back(sockets[i].get(), shape_of(port));
            rx_.emplace_back(port, port.rx[i], rings, sockets[i].get());
            tx_.emplace_back(port.tx[i], rings, sockets[i].get(), interface_, limits);
        }
        sockets_ = std::move(sockets);
    }

    /// The kernel forgets what it has told.
    [[nodiscard]] bool look_at_drops() noexcept override
    {
        bool any = false;
        for (std::size_t i = 0; i != sockets_.size(); ++i) {
            tpacket_stats since{};
            socklen_t length = sizeof since;
            if (::getsockopt(sockets_[i].get(), SOL_PACKET, PACKET_STATISTICS, &since, &length) ==
                0)
                drops_[i] += since.tp_drops;
            any = any || drops_[i] != 0;
        }
        return any;
    }
    void count_drops() noexcept override
    {
        for (std::size_t i = 0; i != sockets_.size(); ++i)
            port_.rx[i].missed.fetch_add(std::exchange(drops_[i], 0),
                                         std::memory_order_relaxed);  // a count
    }

    [[nodiscard]] std::optional<port_link> link() noexcept override
    {
        return look_at_interface(sockets_[0].get(), interface_);
    }
    [[nodiscard]] int receive_also(reception what, bool on) noexcept override
    {
        return detail::receive_also(sockets_[0].get(), interface_, what, on);
    }

private:
    port_layout& port_;
    int interface_;
    std::vector<file_descriptor> sockets_;
    std::deque<mapped_rings> rings_;                      // the queues refer to them
    std::array<std::uint64_t, max_port_queues> drops_{};  // not added yet
};

class af_packet_driver final : public port_driver {
public:
    void create(port_layout& port, const port_request& request, port_host& host) const override;
    [[nodiscard]] std::unique_ptr<port_io> open(port_layout& port, port_host& host) const override
    {
        auto sockets = host.files_of(port);
        if (sockets.size() != port.rx_queues)
            throw error{errc::stalled,
                        fmt::format("the port has {} queues but {} sockets came from the members "
                                    "that have them; is one of them stopped?",
                                    port.rx_queues, sockets.size())};
        return std::make_unique<af_packet_io>(port, std::move(sockets));
    }
};

void af_packet_driver::create(port_layout& port, const port_request& request, port_host& host) const
{
    const auto options = request.options;
    check_option_keys("af_packet", options, af_packet_option_keys);
    const auto queues = number_option("af_packet", options, "queues", 1, {1, max_port_queues});
    const auto facts = look_up_interface(option_value(options, "iface"));
    const auto clock = option_value(options, "timestamps");
    if (!clock.empty() && clock != "hardware")
        throw error{errc::invalid_argument,
                    fmt::format("timestamps={} of an af_packet port must be hardware", clock)};
    if (!clock.empty())
        require_hardware_time(option_value(options, "iface"));
    auto shape = ring_shape::for_mtu(facts.link.mtu);
    port.limits.align_descriptors = shape.frames_per_block();
    port.limits.min_descriptors =
        std::max<std::uint32_t>(2 * max_port_burst, shape.frames_per_block());
    port.limits.max_descriptors = most_frames;
    port.limits.default_descriptors = 512;
    shape.rx_frames =
        af_packet_frames(std::max(request.rx_descriptors, request.tx_descriptors), port.limits);
    shape.tx_frames = shape.rx_frames;
    port.limits.min_descriptors = shape.rx_frames;  // from now on the rings are as they are
    port.limits.max_descriptors = shape.rx_frames;
    port.limits.default_descriptors = shape.rx_frames;
    const socket_wishes wishes{
        .interface_index = facts.index,
        .qdisc_bypass = number_option("af_packet", options, "qdisc_bypass", 1, {0, 1}) != 0,
        .hardware_time = !clock.empty()};
    std::vector<file_descriptor> sockets;
    for (std::uint64_t i = 0; i != queues; ++i)
        sockets.push_back(make_packet_socket(wishes, shape));
    join_fanout(sockets);
    if (number_option("af_packet", options, "promiscuous", 0, {0, 1}) != 0) {
        if (const int failed =
                detail::receive_also(sockets[0].get(), facts.index, reception::promiscuous, true);
            failed != 0)
            throw_errno(failed, "cannot set the promiscuous mode of an interface");
        port.receives.store(static_cast<std::uint32_t>(reception::promiscuous),
                            std::memory_order_relaxed);  // not published yet
    }

    port.driver_words[af_packet_word::frame_bytes] = shape.frame_bytes;
    port.driver_words[af_packet_word::block_bytes] = shape.block_bytes;
    port.driver_words[af_packet_word::rx_frames] = shape.rx_frames;
    port.driver_words[af_packet_word::tx_frames] = shape.tx_frames;
    port.driver_words[af_packet_word::interface_index] = static_cast<std::uint64_t>(facts.index);
    port.rx_queues = static_cast<std::uint16_t>(queues);
    port.tx_queues = static_cast<std::uint16_t>(queues);
    port.mtu = facts.link.mtu;
    std::copy(facts.link.mac.begin(), facts.link.mac.end(), std::begin(port.mac));
    host.keep(host.key_of(port), std::move(sockets));
}

}  // namespace

void register_af_packet_driver()
{
    register_port_driver("af_packet", std::make_unique<af_packet_driver>());
}

}  // namespace cohort
