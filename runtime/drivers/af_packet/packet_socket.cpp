#include "packet_socket.hpp"

#include "cohort/base/error.hpp"
#include "interface_view.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

namespace cohort::detail {
namespace {

constexpr std::uint32_t block_least = 64 * 1024;

template <typename Value>
void set_option(const file_descriptor& socket, int option, const Value& value, const char* what)
{
    if (::setsockopt(socket.get(), SOL_PACKET, option, &value, sizeof value) != 0)
        throw_errno(errno, fmt::format("cannot set {} of a packet socket", what));
}

tpacket_req request_for(const ring_shape& shape, std::uint32_t frames) noexcept
{
    return {.tp_block_size = shape.block_bytes,
            .tp_block_nr = frames / shape.frames_per_block(),
            .tp_frame_size = shape.frame_bytes,
            .tp_frame_nr = frames};
}

}  // namespace

void require_hardware_time(const std::string& interface)
{
    hwtstamp_config now{};
    ifreq request{};
    std::memcpy(request.ifr_name, interface.data(),
                std::min<std::size_t>(interface.size(), IFNAMSIZ - 1));
    request.ifr_data = reinterpret_cast<char*>(&now);
    const auto view = open_view(view_kind::datagram);
    if (::ioctl(view.get(), SIOCGHWTSTAMP, &request) != 0)
        throw error{errc::not_found,
                    fmt::format("the interface \"{}\" tells of no time stamps of its device: {}; "
                                "leave out timestamps=hardware",
                                interface, describe_errno(errno))};
    if (now.rx_filter != HWTSTAMP_FILTER_ALL)  // others would have the kernel's time in between
        throw error{errc::not_found,
                    fmt::format("the device of \"{0}\" does not stamp all that it receives; turn "
                                "that on: hwstamp_ctl -i {0} -r 1",
                                interface)};
}

ring_shape ring_shape::for_mtu(std::uint32_t mtu) noexcept
{
    constexpr std::uint32_t around = TPACKET2_HDRLEN + 16 + ETH_HLEN + 4;
    const auto frame = std::bit_ceil(mtu + around);
    return {.frame_bytes = frame, .block_bytes = std::max(frame, block_least)};
}

file_descriptor make_packet_socket(const socket_wishes& wishes, const ring_shape& shape)
{
    auto socket = open_view(view_kind::packet);
    set_option(socket, PACKET_VERSION, int{TPACKET_V2}, "the version");
    set_option(socket, PACKET_IGNORE_OUTGOING, int{1}, "what it ignores");
    set_option(socket, PACKET_QDISC_BYPASS, int{wishes.qdisc_bypass}, "the qdisc bypass");
    set_option(socket, PACKET_LOSS, int{1}, "the treatment of malformed packets");
    if (wishes.hardware_time)
        set_option(socket, PACKET_TIMESTAMP, int{SOF_TIMESTAMPING_RAW_HARDWARE}, "the clock");
    set_option(socket, PACKET_RX_RING, request_for(shape, shape.rx_frames), "the rx ring");
    set_option(socket, PACKET_TX_RING, request_for(shape, shape.tx_frames), "the tx ring");
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = wishes.interface_index;
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        throw_errno(errno, "cannot bind a packet socket to its interface");
    return socket;
}

void join_fanout(std::span<const file_descriptor> sockets)
{
    if (sockets.size() < 2)
        return;
    const std::uint32_t by_flow = PACKET_FANOUT_HASH;
    set_option(sockets[0], PACKET_FANOUT, (by_flow | PACKET_FANOUT_FLAG_UNIQUEID) << 16,
               "the fanout");
    std::uint32_t group = 0;
    socklen_t length = sizeof group;
    if (::getsockopt(sockets[0].get(), SOL_PACKET, PACKET_FANOUT, &group, &length) != 0)
        throw_errno(errno, "cannot read the fanout of a packet socket");
    for (const auto& socket : sockets.subspan(1))
        set_option(socket, PACKET_FANOUT, (group & 0xffffu) | by_flow << 16, "the fanout");
}

mapped_rings::mapped_rings(int socket, const ring_shape& shape) : shape_{shape}
{
    void* at = ::mmap(nullptr, shape.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, socket, 0);
    if (at == MAP_FAILED)
        throw_errno(errno, "cannot map the rings of a packet socket");
    ::madvise(at, shape.bytes(), MADV_DONTFORK);
    base_ = static_cast<std::byte*>(at);
}

mapped_rings::mapped_rings(mapped_rings&& other) noexcept
    : base_{std::exchange(other.base_, nullptr)}
    , shape_{other.shape_}
{
}

mapped_rings& mapped_rings::operator=(mapped_rings&& other) noexcept
{
    std::swap(base_, other.base_);
    std::swap(shape_, other.shape_);
    return *this;
}

mapped_rings::~mapped_rings()
{
    if (base_)
        ::munmap(base_, shape_.bytes());
}

}  // namespace cohort::detail
