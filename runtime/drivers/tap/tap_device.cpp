#include "tap_device.hpp"

#include "cohort/base/error.hpp"
#include "tap_interface.hpp"
#include "vnet_header.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

namespace cohort::detail {
namespace {

constexpr const char* tun_path = "/dev/net/tun";

void check_name(const std::string& name)
{
    if (name.empty())
        throw error{errc::invalid_argument, "a tap port needs iface=NAME"};
    if (name.size() >= IFNAMSIZ)
        throw error{errc::invalid_argument,
                    fmt::format("the interface name \"{}\" of a tap port has {} characters; the "
                                "kernel allows {}",
                                name, name.size(), IFNAMSIZ - 1)};
    const bool odd = std::any_of(name.begin(), name.end(), [](unsigned char c) {
        return c <= ' ' || c > '~' || c == '/' || c == ':' || c == '%';
    });
    if (odd || name == "." || name == "..")
        throw error{errc::invalid_argument,
                    fmt::format("\"{}\" is no name for the interface of a tap port; use letters, "
                                "digits, '-', '_' and '.'",
                                name)};
}

file_descriptor open_tun()
{
    file_descriptor tun{::open(tun_path, O_RDWR | O_NONBLOCK | O_CLOEXEC)};
    if (tun)
        return tun;
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
        throw error{errc::not_found,
                    fmt::format("a tap port needs {} and it is not there: {}; load the module tun, "
                                "or give the container that device (character 10, 200)",
                                tun_path, describe_errno(errno))};
    if (errno == EACCES || errno == EPERM)
        throw error{errc::no_permission,
                    fmt::format("a tap port may not open {}: {}; it must be readable and writable "
                                "(mode 0666), and allowed in the container",
                                tun_path, describe_errno(errno))};
    throw_errno(errno, fmt::format("cannot open {} for a tap port", tun_path));
}

[[noreturn]] void throw_refused(const std::string& name, int number)
{
    switch (number) {
    case EPERM:
        throw error{errc::no_permission,
                    fmt::format("a tap port needs the right CAP_NET_ADMIN in its network namespace "
                                "to use \"{0}\"; run as root, grant it, or let root make the "
                                "interface: ip tuntap add dev {0} mode tap multi_queue user UID",
                                name)};
    case EBUSY:
        throw error{errc::in_use,
                    fmt::format("the interface \"{}\" is in use by another process; end that, or "
                                "give another iface=NAME",
                                name)};
    case EINVAL:
        throw error{
            errc::invalid_argument,
            fmt::format("there is an interface \"{0}\" already that is not a tap interface "
                        "of the kind multi_queue; give another iface=NAME, or make it anew: "
                        "ip tuntap add dev {0} mode tap multi_queue",
                        name)};
    case E2BIG:
        throw error{errc::no_space,
                    fmt::format("the interface \"{}\" has all the queues that the kernel allows; "
                                "end who has them",
                                name)};
    default: throw_errno(number, fmt::format("cannot attach to the tap interface \"{}\"", name));
    }
}

file_descriptor attach_queue(const std::string& name, bool offload)
{
    auto tun = open_tun();
    ifreq request{};
    std::memcpy(request.ifr_name, name.data(), name.size());
    request.ifr_flags =
        static_cast<short>(IFF_TAP | IFF_MULTI_QUEUE | (offload ? IFF_VNET_HDR : 0));
    if (::ioctl(tun.get(), TUNSETIFF, &request) != 0)
        throw_refused(name, errno);
    // As long as somebody has a descriptor of it, also a detached one, the kernel leaves the
    // interface as it was made.
    if (::ioctl(tun.get(), TUNGETIFF, &request) == 0 &&
        ((request.ifr_flags & IFF_VNET_HDR) != 0) != offload)
        throw error{errc::in_use,
                    fmt::format("a process still has the interface \"{}\" as a port {} offload=1 "
                                "had it; end or poll that, or give another iface=NAME",
                                name, offload ? "without" : "with")};
    return tun;
}

}  // namespace

std::vector<file_descriptor> open_tap(const std::string& name, std::uint64_t queues, bool offload)
{
    check_name(name);
    std::vector<file_descriptor> files;
    for (std::uint64_t i = 0; i != queues; ++i)
        files.push_back(attach_queue(name, offload));
    // The kernel lets anybody join an interface of the kind multi_queue, and would share out.
    const auto attached = attached_queues(name).value_or(queues);
    if (attached > queues)
        throw error{errc::in_use,
                    fmt::format("{} of the {} queues of the interface \"{}\" are in use by another "
                                "port or process; end that, or give another iface=NAME",
                                attached - queues, attached, name)};
    // Of the interface; one that stayed may have been left otherwise.
    const int header_bytes = sizeof(vnet_header);
    if (offload && ::ioctl(files[0].get(), TUNSETVNETHDRSZ, &header_bytes) != 0)
        throw_errno(errno, fmt::format("cannot set the offload header of \"{}\"", name));
    if (::ioctl(files[0].get(), TUNSETOFFLOAD, offload ? TUN_F_CSUM : 0) != 0)
        throw_errno(errno, fmt::format("cannot set what the interface \"{}\" leaves undone", name));
    return files;
}

void keep_tap(const file_descriptor& queue)
{
    if (::ioctl(queue.get(), TUNSETPERSIST, 1) != 0)
        throw_errno(errno, fmt::format("cannot make the tap interface \"{}\" persistent",
                                       tap_name(queue.get())));
}

void detach_tap(const file_descriptor& queue)
{
    ifreq request{};
    request.ifr_flags = IFF_DETACH_QUEUE;
    // EINVAL: it is detached, or the interface is gone.
    if (::ioctl(queue.get(), TUNSETQUEUE, &request) != 0 && errno != EINVAL)
        throw_errno(errno, "cannot detach a queue of a tap interface");
}

std::string tap_name(int queue) noexcept
{
    ifreq request{};
    if (::ioctl(queue, TUNGETIFF, &request) != 0)
        return {};
    return {request.ifr_name, ::strnlen(request.ifr_name, IFNAMSIZ)};
}

}  // namespace cohort::detail
