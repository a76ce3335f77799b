#pragma once
// A network namespace with two ends of a cable, "near" and "far". The calling thread is in it until
// scope exit, and what it starts meanwhile stays in it.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace cohort::test {

class scratch_network {
public:
    static constexpr const char* missing = "root, to make a network namespace, and ip";

    [[nodiscard]] static bool possible()
    {
        return ::geteuid() == 0 && std::system("ip -V >/dev/null 2>&1") == 0;
    }

    static constexpr const char* tap_missing = "root, ip and /dev/net/tun";

    [[nodiscard]] static bool tap_possible()
    {
        return possible() && ::access("/dev/net/tun", R_OK | W_OK) == 0;
    }

    static constexpr const char* xdp_missing =
        "root, ip, Linux 6.4, AF_XDP in the kernel and libbpf at build time";

    [[nodiscard]] static bool xdp_possible()
    {
#ifdef COHORT_HAS_AF_XDP
        static const bool has_all = possible() && kernel_at_least(6, 4) && [] {
            const int made = ::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
            ::close(made);
            return made >= 0;
        }();
        return has_all;
#else
        return false;
#endif
    }
    [[nodiscard]] static bool kernel_at_least(int major, int minor)
    {
        utsname system{};
        ::uname(&system);
        int has[2]{};
        static_cast<void>(std::sscanf(system.release, "%d.%d", &has[0], &has[1]));
        return has[0] > major || (has[0] == major && has[1] >= minor);
    }
    /// A tap interface that nobody is attached to, and on which the kernel says nothing by itself.
    static void make_silent_tap(const std::string& name)
    {
        run("ip tuntap add dev " + name + " mode tap multi_queue");
        run("ip link set " + name + " addrgenmode none");
    }

    /// Two interfaces that are up, each the other's other end.
    static void make_cable(const std::string& one, const std::string& other)
    {
        run("ip link add " + one + " type veth peer name " + other);
        for (const auto& end : {one, other})
            run("ip link set " + end + " addrgenmode none && ip link set " + end + " up");
    }

    scratch_network() : before_{::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)}
    {
        if (before_ < 0 || ::unshare(CLONE_NEWNET) != 0)
            throw std::runtime_error{"no network namespace"};
        // Nobody but the test says anything on the cable, nor on what is made later.
        static_cast<void>(
            std::system("echo 1 2>/dev/null >/proc/sys/net/ipv6/conf/default/disable_ipv6"));
        make_cable("near", "far");
        run("ip link set lo up");
    }
    ~scratch_network()
    {
        static_cast<void>(::setns(before_, CLONE_NEWNET));
        ::close(before_);
    }
    scratch_network(const scratch_network&) = delete;
    scratch_network& operator=(const scratch_network&) = delete;

    static void run(const std::string& command)
    {
        if (std::system((command + " >/dev/null 2>&1").c_str()) != 0)
            throw std::runtime_error{"failed: " + command};
    }

private:
    int before_;
};

/// A plain packet socket of the kernel, to be the peer of a port. To close one takes the kernel
/// tens of milliseconds.
class raw_station {
public:
    /// One that hears nothing does not mind its interface going down and up again.
    enum class hears : std::uint16_t { nothing = 0, everything = ETH_P_ALL };

    explicit raw_station(const char* interface, hears what = hears::everything)
        : fd_{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)}  // nothing before it is bound
    {
        const int large = 64 << 20;
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large);
        const int yes = 1;
        ::setsockopt(fd_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(static_cast<std::uint16_t>(what));
        address.sll_ifindex = static_cast<int>(::if_nametoindex(interface));
        if (::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            throw std::runtime_error{"cannot bind to an interface"};
    }
    ~raw_station() { ::close(fd_); }
    raw_station(const raw_station&) = delete;
    raw_station& operator=(const raw_station&) = delete;

    /// From now on each frame has a virtio_net_hdr in front.
    void hear_offloads() const
    {
        const int yes = 1;
        ::setsockopt(fd_, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes);
    }
    [[nodiscard]] bool send(std::string_view frame) const
    {
        return ::send(fd_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size());
    }
    /// The next frame, or an empty one when there is none now.
    [[nodiscard]] std::string receive() const
    {
        std::string frame(65'536, '\0');
        const auto got = ::recv(fd_, frame.data(), frame.size(), MSG_DONTWAIT);
        frame.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return frame;
    }

private:
    int fd_;
};

}  // namespace cohort::test
