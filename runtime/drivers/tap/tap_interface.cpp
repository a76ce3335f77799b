#include "tap_interface.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <span>
#include <vector>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cohort::detail {
namespace {

file_descriptor open_socket(int domain, int kind, int protocol)
{
    file_descriptor made{::socket(domain, kind | SOCK_CLOEXEC, protocol)};
    if (!made)
        throw_errno(errno, "cannot make a socket to set up a tap interface");
    return made;
}

/// The settings of one interface, asked and made through a socket.
class settings_of {
public:
    explicit settings_of(const std::string& name)
        : name_{name}
        , socket_{open_socket(AF_INET, SOCK_DGRAM, 0)}
    {
        std::memcpy(request.ifr_name, name.data(),
                    std::min<std::size_t>(name.size(), IFNAMSIZ - 1));
    }
    void call(unsigned long number, std::string_view what)
    {
        if (::ioctl(socket_.get(), number, &request) == 0)
            return;
        if (errno == EPERM || errno == EACCES)
            throw error{errc::no_permission,
                        fmt::format("a tap port needs the right CAP_NET_ADMIN in its network "
                                    "namespace to {} of \"{}\"; run as root, grant it, or let root "
                                    "do that before",
                                    what, name_)};
        throw_errno(errno, fmt::format("cannot {} of the tap interface \"{}\"", what, name_));
    }

    ifreq request{};

private:
    std::string name_;
    file_descriptor socket_;
};

/// Calls `visit(kind, payload)` for each attribute that is whole.
template <typename Visit>
void for_each_attribute(std::span<const std::byte> bytes, Visit visit)
{
    while (bytes.size() >= sizeof(rtattr)) {
        rtattr head;
        std::memcpy(&head, bytes.data(), sizeof head);
        if (head.rta_len < sizeof head || head.rta_len > bytes.size())
            return;
        visit(head.rta_type & NLA_TYPE_MASK,
              bytes.subspan(sizeof head, head.rta_len - sizeof head));
        bytes = bytes.subspan(std::min<std::size_t>(RTA_ALIGN(head.rta_len), bytes.size()));
    }
}

/// What the kernel answers when asked about an interface: attributes.
std::vector<std::byte> describe_interface(const std::string& name)
{
    struct {
        nlmsghdr head;
        ifinfomsg about;
    } question{};
    question.head = {.nlmsg_len = sizeof question,
                     .nlmsg_type = RTM_GETLINK,
                     .nlmsg_flags = NLM_F_REQUEST,
                     .nlmsg_seq = 1,
                     .nlmsg_pid = 0};
    question.about.ifi_index = static_cast<int>(::if_nametoindex(name.c_str()));
    const auto socket = open_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    std::vector<std::byte> answer(64 * 1024);
    if (::send(socket.get(), &question, sizeof question, 0) != sizeof question)
        return {};
    const auto got = ::recv(socket.get(), answer.data(), answer.size(), 0);
    nlmsghdr head{};
    if (got < static_cast<ssize_t>(NLMSG_SPACE(sizeof(ifinfomsg))))
        return {};
    std::memcpy(&head, answer.data(), sizeof head);
    if (head.nlmsg_type != RTM_NEWLINK)
        return {};
    answer.resize(static_cast<std::size_t>(got));
    answer.erase(answer.begin(), answer.begin() + NLMSG_SPACE(sizeof(ifinfomsg)));
    return answer;
}

/// The field at `place` of a line of /proc/net/dev, after the colon.
std::optional<std::uint64_t> field_of(std::string_view line, std::size_t place) noexcept
{
    for (;; --place) {
        const auto start = line.find_first_not_of(' ');
        if (start == std::string_view::npos)
            return std::nullopt;
        line.remove_prefix(start);
        const auto end = std::min(line.find(' '), line.size());
        std::uint64_t value = 0;
        if (place == 0)
            return std::from_chars(line.data(), line.data() + end, value).ec == std::errc{}
                       ? std::optional{value}
                       : std::nullopt;
        line.remove_prefix(end);
    }
}

}  // namespace

mac_address parse_mac(std::string_view text)
{
    mac_address mac{};
    bool sound = text.size() == 3 * mac.size() - 1;
    for (std::size_t i = 0; sound && i != mac.size(); ++i) {
        const auto* at = text.data() + 3 * i;
        const auto [end, fault] = std::from_chars(at, at + 2, mac[i], 16);
        sound = fault == std::errc{} && end == at + 2 && (i + 1 == mac.size() || *end == ':');
    }
    const bool none = std::all_of(mac.begin(), mac.end(), [](auto byte) { return byte == 0; });
    if (!sound || none || (mac[0] & 1) != 0)
        throw error{errc::invalid_argument,
                    fmt::format("mac={} of a tap port is no address of one station; give six "
                                "hexadecimal bytes with an even first one, as 02:00:00:00:00:01",
                                text)};
    return mac;
}

int set_up_interface(const std::string& name, const interface_settings& wanted)
{
    settings_of interface {
        name
    };
    auto& request = interface.request;
    if (wanted.mac) {
        request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        std::copy(wanted.mac->begin(), wanted.mac->end(), request.ifr_hwaddr.sa_data);
        interface.call(SIOCSIFHWADDR, "set the MAC address");
    }
    if (wanted.mtu) {
        request.ifr_mtu = static_cast<int>(*wanted.mtu);
        interface.call(SIOCSIFMTU, fmt::format("set the MTU {}", *wanted.mtu));
    }
    interface.call(SIOCGIFFLAGS, "read the state");
    if ((request.ifr_flags & IFF_UP) == 0) {
        request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
        interface.call(SIOCSIFFLAGS, "set the state \"up\"");
    }
    interface.call(SIOCGIFINDEX, "read the index");
    return request.ifr_ifindex;
}

std::optional<std::uint32_t> attached_queues(const std::string& name)
{
    std::optional<std::uint32_t> count;
    const auto note = [&](int kind, std::span<const std::byte> value) {
        if (kind == IFLA_TUN_NUM_QUEUES && value.size() == sizeof(std::uint32_t))
            std::memcpy(&count.emplace(), value.data(), value.size());
    };
    const auto answer = describe_interface(name);
    for_each_attribute(answer, [&](int kind, std::span<const std::byte> link) {
        if (kind == IFLA_LINKINFO)
            for_each_attribute(link, [&](int part, std::span<const std::byte> details) {
                if (part == IFLA_INFO_DATA)
                    for_each_attribute(details, note);
            });
    });
    return count;
}

file_descriptor open_interface_counts()
{
    file_descriptor counts{::open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC)};
    if (!counts)
        throw_errno(errno, "cannot open /proc/thread-self/net/dev, where the kernel counts what a "
                           "tap interface drops");
    return counts;
}

std::optional<std::uint64_t> dropped_frames(int counts, std::string_view name) noexcept
{
    constexpr std::size_t tx_dropped = 11;  // eight fields of rx, then bytes, packets, errs, drop
    std::array<char, 4096> text;
    std::size_t kept = 0;
    off_t at = 0;
    for (;;) {
        const auto got = ::pread(counts, text.data() + kept, text.size() - kept, at);
        if (got <= 0)
            return std::nullopt;
        at += got;
        std::string_view left{text.data(), kept + static_cast<std::size_t>(got)};
        for (auto end = left.find('\n'); end != std::string_view::npos; end = left.find('\n')) {
            auto line = left.substr(0, end);
            line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
            if (line.starts_with(name) && line.substr(name.size()).starts_with(':'))
                return field_of(line.substr(name.size() + 1), tx_dropped);
            left.remove_prefix(end + 1);
        }
        kept = left.size();
        std::memmove(text.data(), left.data(), kept);
    }
}

}  // namespace cohort::detail
