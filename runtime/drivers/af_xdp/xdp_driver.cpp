#include "xdp_driver.hpp"

#include "cohort/base/error.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"
#include "cohort/port/port_host.hpp"
#include "interface_view.hpp"
#include "queue_io.hpp"
#include "queue_words.hpp"
#include "xdp_device.hpp"
#include "xdp_grace.hpp"
#include "xdp_queue.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <deque>

#include <fmt/format.h>

#include <sys/socket.h>

namespace cohort {
namespace {

using namespace detail;

constexpr std::array<std::string_view, 3> af_xdp_option_keys{"iface", "queues", "mode"};
constexpr std::uint32_t least_slots = 64;
constexpr std::uint32_t most_slots = 16'384;
constexpr std::uint32_t usual_slots = 512;
constexpr std::size_t files_beside_sockets = 4;  // view, map, program, link

std::vector<file_descriptor> all_files(port_layout& port, port_host& host)
{
    auto files = host.files_of(port);
    if (files.size() != port.rx_queues + files_beside_sockets)
        throw error{errc::stalled,
                    fmt::format("the port has {} descriptors but {} came from the members that "
                                "have them; is one of them stopped?",
                                port.rx_queues + files_beside_sockets, files.size())};
    return files;
}

mempool_layout& device_pool(const port_layout& port, port_host& host)
{
    auto& zone = host.segments().layout().zones[port.device_pool - 1];
    return *static_cast<mempool_layout*>(zone.data());
}

class af_xdp_io final : public queue_io<xdp_rx, xdp_tx> {
public:
    /// A socket for each queue, one that looks at the interface, the map, the program and the link.
    af_xdp_io(port_layout& port, mempool_layout& pool, std::vector<file_descriptor> files)
        : device_{port, pool, std::move(files[files.size() - 3]),
                  std::move(files[files.size() - 2]), std::move(files.back())}
        , interface_{static_cast<int>(port.driver_words[xdp_word::interface_index])}
        , view_{std::move(files[files.size() - files_beside_sockets])}
    {
        files.resize(files.size() - files_beside_sockets);
        const auto slots = static_cast<std::uint32_t>(port.driver_words[xdp_word::slots]);
        const auto limits = frame_limits_of(port).value();
        for (std::uint16_t i = 0; i != files.size(); ++i) {
            const auto& rings = rings_.emplace_back(files[i].get(), slots);
            rx_.emplace_back(device_, i, rings, files[i].get());
            tx_.emplace_back(device_, i, rings, files[i].get(), limits);
        }
        sockets_ = std::move(files);
    }

    /// The kernel counts from the making of a socket on, and forgets nothing.
    [[nodiscard]] bool look_at_drops() noexcept override
    {
        for (std::size_t i = 0; i != sockets_.size(); ++i) {
            xdp_statistics counts{};
            socklen_t length = sizeof counts;
            if (::getsockopt(sockets_[i].get(), SOL_XDP, XDP_STATISTICS, &counts, &length) == 0)
                dropped_[i] = counts.rx_dropped + counts.rx_ring_full;
        }
        return dropped_ != counted_;
    }
    void count_drops() noexcept override
    {
        for (std::size_t i = 0; i != sockets_.size(); ++i)
            count_drops_since(device_.port().rx[i], xdp_queue_word::drops, dropped_[i]);
        counted_ = dropped_;
    }

    [[nodiscard]] std::optional<port_link> link() noexcept override
    {
        return look_at_interface(view_.get(), interface_);
    }
    [[nodiscard]] int receive_also(reception what, bool on) noexcept override
    {
        return detail::receive_also(view_.get(), interface_, what, on);
    }

    [[nodiscard]] const char* find_fault() noexcept override
    {
        for (std::uint16_t i = 0; i != sockets_.size(); ++i)
            if (const char* fault = detail::find_fault(device_, i, rings_[i]))
                return fault;
        return nullptr;
    }

    /// For a lane that has all queues. False when the kernel keeps something that it was to send.
    [[nodiscard]] bool flush() noexcept
    {
        bool all = true;
        for (auto& queue : tx_)
            all = queue.flush() && all;
        return all;
    }

private:
    xdp_device device_;
    int interface_;
    file_descriptor view_;
    std::vector<file_descriptor> sockets_;
    std::deque<xdp_rings> rings_;                           // the queues refer to them
    std::array<std::uint64_t, max_port_queues> dropped_{};  // as the kernel said last
    std::array<std::uint64_t, max_port_queues> counted_{};  // of these, by this object
};

class af_xdp_driver final : public port_driver {
public:
    void create(port_layout& port, const port_request& request, port_host& host) const override;
    [[nodiscard]] std::unique_ptr<port_io> open(port_layout& port, port_host& host) const override
    {
        return std::make_unique<af_xdp_io>(port, device_pool(port, host), all_files(port, host));
    }
    void let_go(port_layout& port, port_host& host) const override;
};

xdp_mode parse_mode(const std::string& text)
{
    if (text.empty() || text == "skb")
        return xdp_mode::skb;
    if (text == "native")
        return xdp_mode::native;
    throw error{errc::invalid_argument,
                fmt::format("mode={} of an af_xdp port must be skb, which every interface has, or "
                            "native, which the driver of the interface may have",
                            text)};
}

/// Slots of each ring: as wished, else what leaves half of the pool to others.
std::uint32_t choose_slots(std::uint32_t wished, std::uint32_t queues, std::uint32_t pool_count)
{
    const auto fair = std::bit_floor(std::max(pool_count / (2 * queues), 1u));
    const auto slots = wished != 0 ? wished : std::clamp(fair, least_slots, usual_slots);
    if (!std::has_single_bit(slots) || slots < least_slots || slots > most_slots)
        throw error{errc::invalid_argument,
                    fmt::format("an af_xdp queue cannot have {} descriptors; choose a power of two "
                                "from {} to {}",
                                slots, least_slots, most_slots)};
    const auto needed = queues * slots + static_cast<std::uint32_t>(max_port_burst);
    if (pool_count < needed)
        throw error{errc::invalid_argument,
                    fmt::format("the pool of the af_xdp port has {} buffers but {} queues of {} "
                                "descriptors need {}; create the pool with more, or the port with "
                                "fewer descriptors",
                                pool_count, queues, slots, needed)};
    return slots;
}

void af_xdp_driver::create(port_layout& port, const port_request& request, port_host& host) const
{
    const auto options = request.options;
    check_option_keys("af_xdp", options, af_xdp_option_keys);
    const auto queues = static_cast<std::uint32_t>(
        number_option("af_xdp", options, "queues", 1, {1, max_port_queues}));
    const auto mode = parse_mode(option_value(options, "mode"));
    if (!request.pool)
        throw error{errc::invalid_argument,
                    "an af_xdp port receives into the memory of one pool; name it as the port's "
                    "rx_pool"};
    const auto name = option_value(options, "iface");
    const auto facts = look_up_interface(name);
    const auto slots = choose_slots(std::max(request.rx_descriptors, request.tx_descriptors),
                                    queues, request.pool->count());
    const auto umem = umem_shape::of(*request.pool, longest_frame(facts.link.mtu));
    auto files = make_xdp_sockets(
        {.interface_index = facts.index, .interface_name = name, .queues = queues, .slots = slots},
        umem);
    files.push_back(open_view(view_kind::packet));
    files.push_back(make_socket_map(queues));
    files.push_back(load_program(files.back()));
    files.push_back(attach_program(files.back(), facts.index, name, mode));

    port.driver_words[xdp_word::umem_base] = umem.base;
    port.driver_words[xdp_word::umem_bytes] = umem.bytes;
    port.driver_words[xdp_word::chunk_bytes] = umem.chunk_bytes;
    port.driver_words[xdp_word::slots] = slots;
    port.driver_words[xdp_word::mode] = static_cast<std::uint64_t>(mode);
    port.driver_words[xdp_word::interface_index] = static_cast<std::uint64_t>(facts.index);
    port.limits.min_descriptors = slots;  // the rings are as they are
    port.limits.max_descriptors = slots;
    port.limits.default_descriptors = slots;
    port.rx_queues = static_cast<std::uint16_t>(queues);
    port.tx_queues = static_cast<std::uint16_t>(queues);
    port.mtu = facts.link.mtu;
    port.device_pool = request.pool->index + 1u;
    port.primes = 1;
    std::copy(facts.link.mac.begin(), facts.link.mac.end(), std::begin(port.mac));
    host.keep(host.key_of(port), std::move(files));
}

/// Of an interface that is gone the kernel has let go by itself. A frame that is under way from
/// there may then be read with later bytes; no buffer is written to.
void flush_all(port_layout& port, port_host& host)
{
    try {
        af_xdp_io device{port, device_pool(port, host), all_files(port, host)};
        if (device.flush())
            return;
    } catch (const error& gone) {
        if (gone.reason() == errc::not_found)
            return;
        throw;
    }
    throw error{errc::stalled,
                "the kernel has not sent all that it was given within a second; the buffers stay "
                "out of use until the domain ends"};
}

void af_xdp_driver::let_go(port_layout& port, port_host& host) const
{
    {
        const auto files = all_files(port, host);
        for (std::uint16_t i = 0; i != port.rx_queues; ++i)
            disconnect_socket(files[files.size() - 3], i);
        detach_program(files.back());
    }
    flush_all(port, host);
    await_grace_period();
    port.device_keeps.store(0, std::memory_order_release);
}

}  // namespace

void register_af_xdp_driver()
{
    register_port_driver("af_xdp", std::make_unique<af_xdp_driver>());
}

}  // namespace cohort
