#pragma once
// A host of a test: the kernel's own network stack in a namespace of its own, with one card whose
// other end, a cable's, lies in the namespace of the calling thread.

#include "support/scratch_network.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cohort::test {

class network_host {
public:
    struct options {
        std::string cable;    ///< the interface here at which the host can be reached
        std::string address;  ///< of the host, with the length of its prefix
        int queues = 1;       ///< of both ends
    };
    explicit network_host(const options& wanted) : home_{open_own()}
    {
        if (::unshare(CLONE_NEWNET) != 0)
            throw std::runtime_error{"no network namespace"};
        there_ = open_own();
        const auto queues = std::to_string(wanted.queues);
        const auto both = " numtxqueues " + queues + " numrxqueues " + queues;
        const auto home = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(home_);
        static_cast<void>(
            std::system("echo 1 2>/dev/null >/proc/sys/net/ipv6/conf/default/disable_ipv6"));
        scratch_network::run("ip link add card" + both + " type veth peer name " + wanted.cable +
                             both + " netns " + home);
        make_card_compute_checksums();
        scratch_network::run("ip addr add " + wanted.address + " dev card && ip link set card up");
        go(home_);
        scratch_network::run("ip link set " + wanted.cable + " addrgenmode none && ip link set " +
                             wanted.cable + " up");
    }
    ~network_host()
    {
        ::close(there_);
        ::close(home_);
    }
    network_host(const network_host&) = delete;
    network_host& operator=(const network_host&) = delete;

    /// A socket of this host, wherever it is used.
    [[nodiscard]] int socket(int domain, int type, int protocol) const
    {
        go(there_);
        const int made = ::socket(domain, type | SOCK_CLOEXEC, protocol);
        go(home_);
        if (made < 0)
            throw std::runtime_error{"no socket"};
        return made;
    }

private:
    [[nodiscard]] static int open_own()
    {
        const int own = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (own < 0)
            throw std::runtime_error{"cannot open the network namespace"};
        return own;
    }
    static void go(int where)
    {
        if (::setns(where, CLONE_NEWNET) != 0)
            throw std::runtime_error{"cannot enter a network namespace"};
    }
    /// Else the kernel leaves them, and the cutting of TCP into packets, to a card that is none.
    static void make_card_compute_checksums()
    {
        const int any = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ethtool_value off{.cmd = ETHTOOL_STXCSUM, .data = 0};
        ifreq request{};
        std::strcpy(request.ifr_name, "card");
        request.ifr_data = reinterpret_cast<char*>(&off);
        const bool done = ::ioctl(any, SIOCETHTOOL, &request) == 0;
        ::close(any);
        if (!done)
            throw std::runtime_error{"cannot switch checksum offload off"};
    }

    int home_;
    int there_ = -1;
};

[[nodiscard]] inline sockaddr_in ipv4_address(const char* text, std::uint16_t port = 0)
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (::inet_pton(AF_INET, text, &address.sin_addr) != 1)
        throw std::runtime_error{"not an address"};
    return address;
}

/// The kernel's stack, asking for an echo through `socket`, a raw one for ICMP that it closes.
class pinger {
public:
    pinger(int socket, const char* there) : fd_{socket}, there_{ipv4_address(there)} {}
    ~pinger() { ::close(fd_); }
    pinger(const pinger&) = delete;
    pinger& operator=(const pinger&) = delete;

    void ask(std::uint16_t sequence) const
    {
        std::array<std::uint16_t, 32> words{};  // header and 56 bytes
        words[0] = ICMP_ECHO;
        words[2] = identity;
        words[3] = sequence;
        std::uint32_t sum = 0;
        for (const auto word : words)
            sum += word;
        sum = (sum & 0xffff) + (sum >> 16);
        words[1] = static_cast<std::uint16_t>(~((sum & 0xffff) + (sum >> 16)));
        static_cast<void>(::sendto(fd_, words.data(), sizeof words, 0,
                                   reinterpret_cast<const sockaddr*>(&there_), sizeof there_));
    }
    /// The sequence number of the next answer that has come, if any.
    [[nodiscard]] std::optional<std::uint16_t> answer() const
    {
        std::array<std::uint8_t, 256> bytes;
        while (::recv(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT) == 20 + 64) {
            std::array<std::uint16_t, 4> words;
            std::memcpy(words.data(), bytes.data() + 20, sizeof words);
            if (words[0] == ICMP_ECHOREPLY && words[2] == identity)
                return words[3];
        }
        return std::nullopt;
    }

private:
    static constexpr std::uint16_t identity = 0x1234;

    int fd_;
    sockaddr_in there_;
};

}  // namespace cohort::test
