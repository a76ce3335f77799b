#include "interface_view.hpp"

#include "cohort/base/error.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include <fmt/format.h>

#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace cohort::detail {
namespace {

/// Leaves 0 where the driver of the interface knows no speed.
void look_at_speed(int socket, ifreq& request, port_link& link) noexcept
{
    ethtool_cmd settings{};
    settings.cmd = ETHTOOL_GSET;
    request.ifr_data = reinterpret_cast<char*>(&settings);
    if (::ioctl(socket, SIOCETHTOOL, &request) != 0)
        return;
    const auto speed = ethtool_cmd_speed(&settings);
    if (speed == static_cast<std::uint32_t>(SPEED_UNKNOWN))
        return;
    link.speed = speed;
    link.full_duplex = settings.duplex != DUPLEX_HALF;
}

}  // namespace

port_link look_at_interface(int socket, int index) noexcept
{
    ifreq request{};
    request.ifr_ifindex = index;
    port_link link;
    if (::ioctl(socket, SIOCGIFNAME, &request) != 0 || ::ioctl(socket, SIOCGIFFLAGS, &request) != 0)
        return link;
    link.up = (request.ifr_flags & IFF_UP) != 0 && (request.ifr_flags & IFF_RUNNING) != 0;
    if (::ioctl(socket, SIOCGIFMTU, &request) == 0)
        link.mtu = static_cast<std::uint32_t>(request.ifr_mtu);
    if (::ioctl(socket, SIOCGIFHWADDR, &request) == 0)
        std::memcpy(link.mac.data(), request.ifr_hwaddr.sa_data, link.mac.size());
    look_at_speed(socket, request, link);
    return link;
}

std::uint32_t mtu_of_interface(int socket, int index) noexcept
{
    ifreq request{};
    request.ifr_ifindex = index;
    const bool known =
        ::ioctl(socket, SIOCGIFNAME, &request) == 0 && ::ioctl(socket, SIOCGIFMTU, &request) == 0;
    return known ? static_cast<std::uint32_t>(request.ifr_mtu) : 0;
}

port_link look_at_present_interface(int socket, int index)
{
    const auto link = look_at_interface(socket, index);
    if (link.mtu == 0)
        throw error{
            errc::invalid_argument,
            fmt::format("the interface with index {} has vanished meanwhile; try again", index)};
    return link;
}

int receive_also(int packet_socket, int index, reception what, bool on) noexcept
{
    packet_mreq wish{};
    wish.mr_ifindex = index;
    wish.mr_type = what == reception::promiscuous ? PACKET_MR_PROMISC : PACKET_MR_ALLMULTI;
    const auto ask = [&](int option) {
        return ::setsockopt(packet_socket, SOL_PACKET, option, &wish, sizeof wish) == 0 ? 0 : errno;
    };
    // The kernel counts wishes of a socket, and does not mind to drop one that is not there.
    const int ended = ask(PACKET_DROP_MEMBERSHIP);
    return on && ended == 0 ? ask(PACKET_ADD_MEMBERSHIP) : ended;
}

file_descriptor open_view(view_kind kind)
{
    const bool packet = kind == view_kind::packet;
    file_descriptor made{
        ::socket(packet ? AF_PACKET : AF_INET, (packet ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC, 0)};
    if (!made && (errno == EPERM || errno == EACCES))
        throw error{errc::no_permission,
                    "a port at an interface needs the right CAP_NET_RAW in its network namespace; "
                    "run as root or grant it"};
    if (!made)
        throw_errno(errno, "cannot make a socket to look at an interface");
    return made;
}

std::string interface_option(std::string_view options)
{
    std::string name;
    for (const auto* key : {"iface", "rx_iface", "tx_iface"})
        if (name.empty())
            name = option_value(options, key);
    return name;
}

interface_facts look_up_interface(const std::string& name)
{
    ifreq request{};
    if (name.empty() || name.size() >= IFNAMSIZ)
        throw error{errc::invalid_argument,
                    fmt::format("\"{}\" is no name of an interface; give iface=NAME with 1 to {} "
                                "characters",
                                name, IFNAMSIZ - 1)};
    std::memcpy(request.ifr_name, name.data(), name.size());
    const auto view = open_view(view_kind::datagram);
    if (::ioctl(view.get(), SIOCGIFINDEX, &request) != 0)
        throw error{errc::invalid_argument,
                    fmt::format("there is no interface \"{}\" in this network namespace: {}; \"ip "
                                "link\" lists them",
                                name, describe_errno(errno))};
    return {request.ifr_ifindex, look_at_present_interface(view.get(), request.ifr_ifindex)};
}

}  // namespace cohort::detail

namespace cohort {

std::optional<port_link> look_at_interface_of(const port_layout& port)
try {
    const auto name = detail::interface_option(port.options.view());
    const auto index = static_cast<int>(::if_nametoindex(name.c_str()));
    const auto link =
        detail::look_at_interface(detail::open_view(detail::view_kind::datagram).get(), index);
    const bool same = std::equal(link.mac.begin(), link.mac.end(), std::begin(port.mac));
    return index != 0 && same ? std::optional{link} : std::nullopt;
} catch (const error&) {
    return std::nullopt;
}

}  // namespace cohort
