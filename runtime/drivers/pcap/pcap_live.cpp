#include "pcap_live.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/port/drivers.hpp"
#include "pcap_options.hpp"
#include "queue_io.hpp"
#include "queue_words.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/if_packet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace cohort::detail {
namespace {

constexpr int kernel_buffer_bytes = 8 * 1024 * 1024;
constexpr unsigned bursts_between_counts = 256;

int errno_of(int status) noexcept
{
    switch (status) {
    case PCAP_ERROR_NO_SUCH_DEVICE: return ENODEV;
    case PCAP_ERROR_PERM_DENIED: return EPERM;
    case PCAP_ERROR_PROMISC_PERM_DENIED: return EPERM;
    case PCAP_ERROR_IFACE_NOT_UP: return ENETDOWN;
    default: return errno != 0 ? errno : EIO;
    }
}

/// So that the kernel keeps nothing for a capture that only sends.
int receive_nothing(pcap_t* capture) noexcept
{
    bpf_insn refuse = BPF_STMT(BPF_RET | BPF_K, 0);
    bpf_program program{.bf_len = 1, .bf_insns = &refuse};
    return ::pcap_setfilter(capture, &program);
}

live_settings settings_of(std::string_view options, const char* key, bool receives)
{
    return {.interface = option_value(options, key),
            .snap_length = snap_length_option(options),
            .promiscuous = number_option("pcap", options, "promiscuous", 0, {0, 1}) != 0,
            .receives = receives};
}

}  // namespace

int live_capture::open(const live_settings& wanted) noexcept
{
    capture_.reset();
    std::array<char, PCAP_ERRBUF_SIZE> reason{};
    errno = 0;
    std::unique_ptr<pcap_t, closer> made{::pcap_create(wanted.interface.c_str(), reason.data())};
    if (!made)
        return errno_of(PCAP_ERROR);
    // It keeps a few bytes less than it is asked for; what is too much is cut off later.
    ::pcap_set_snaplen(made.get(),
                       wanted.receives ? static_cast<int>(wanted.snap_length) + 64 : 64);
    ::pcap_set_promisc(made.get(), wanted.promiscuous ? 1 : 0);
    ::pcap_set_immediate_mode(made.get(), 1);
    ::pcap_set_tstamp_precision(made.get(), PCAP_TSTAMP_PRECISION_NANO);
    if (wanted.receives)
        ::pcap_set_buffer_size(made.get(), kernel_buffer_bytes);
    if (const int status = ::pcap_activate(made.get()); status < 0)
        return errno_of(status);
    ::fcntl(::pcap_fileno(made.get()), F_SETFD, FD_CLOEXEC);
    // So that the port's own frames take no room; where the kernel cannot, libpcap skips them.
    const int yes = 1;
    ::setsockopt(::pcap_fileno(made.get()), SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
    const int status =
        wanted.receives ? ::pcap_setdirection(made.get(), PCAP_D_IN) : receive_nothing(made.get());
    if (status != 0 || ::pcap_setnonblock(made.get(), 1, reason.data()) != 0)
        return errno_of(PCAP_ERROR);
    capture_ = std::move(made);
    return 0;
}

std::uint32_t probe_interface(const live_settings& wanted)
{
    live_capture probe;
    const int refused = probe.open(wanted);
    switch (refused) {
    case 0: return link_type_of(probe.get());
    case ENODEV:
        throw error{errc::not_found,
                    fmt::format("there is no interface \"{}\" for a pcap port; see ip link",
                                wanted.interface)};
    case EPERM:
    case EACCES:
        throw error{errc::no_permission,
                    fmt::format("a pcap port needs the right CAP_NET_RAW to open the interface "
                                "\"{}\"; run as root or grant it",
                                wanted.interface)};
    case ENETDOWN:
        throw error{errc::invalid_argument,
                    fmt::format("the interface \"{0}\" of a pcap port is down; bring it up: ip "
                                "link set {0} up",
                                wanted.interface)};
    default:
        throw_errno(refused,
                    fmt::format("a pcap port cannot open the interface \"{}\"", wanted.interface));
    }
}

live_rx::live_rx(port_layout& port)
    : captured_rx{port, snap_length_option(port.options.view())}
    , settings_{settings_of(port.options.view(), "rx_iface", true)}
    , gate_{::epoll_create1(EPOLL_CLOEXEC)}
{
    if (!gate_)
        throw_errno(errno, "cannot make an epoll descriptor for a pcap port");
}

/// What the last owner had taken and not delivered is lost.
bool live_rx::seek(std::uint64_t position) noexcept
{
    auto& taken = queue().aux[live_word::taken];
    if (const auto before = taken.load(plain); before > position)
        queue().missed.fetch_add(before - position, plain);
    taken.store(position, in_order);
    auto& openings = queue().aux[live_word::openings];
    if (capture_) {
        if (openings.load(plain) == opening_)  // nobody else has received meanwhile
            count_drops();
        // A program that this process has started may still have the socket.
        ::epoll_ctl(gate_.get(), EPOLL_CTL_DEL, capture_.descriptor(), nullptr);
    }
    dropped_ = 0;
    if (!reopens_.is_due())
        return false;
    if (const int refused = capture_.open(settings_); refused != 0) {
        reopens_.put_off();
        note_refusal(queue(), refused);
        return false;
    }
    opening_ = openings.load(plain) + 1;
    openings.store(opening_, in_order);
    epoll_event readable{};
    readable.events = EPOLLIN;
    return ::epoll_ctl(gate_.get(), EPOLL_CTL_ADD, capture_.descriptor(), &readable) == 0;
}

bool live_rx::fetch(std::uint64_t position, captured_packet& next) noexcept
{
    pcap_pkthdr* header = nullptr;
    const u_char* bytes = nullptr;
    errno = 0;
    const int got = capture_ ? ::pcap_next_ex(capture_.get(), &header, &bytes) : 0;
    if (got < 0)
        note_refusal(queue(), errno_of(PCAP_ERROR));
    if (got != 1)
        return false;
    queue().aux[live_word::taken].store(position + 1, in_order);  // TAKEN
    COHORT_FAULT_POINT("pcap.taken");
    next = as_captured(*header, bytes);
    return true;
}

void live_rx::end_burst(std::uint64_t) noexcept
{
    if (capture_ && ++bursts_ % bursts_between_counts == 0)
        count_drops();
}

/// What found no room in the kernel. By the owner, for libpcap keeps the sum.
void live_rx::count_drops() noexcept
{
    pcap_stat counts{};
    if (::pcap_stats(capture_.get(), &counts) != 0)
        return;
    const std::uint64_t total = counts.ps_drop;
    if (total > dropped_)
        queue().missed.fetch_add(total - dropped_, plain);  // a count
    dropped_ = total;
}

rx_outlook live_rx::arm() noexcept
{
    if (!capture_)
        return rx_outlook::silent;
    if (has_next())
        return rx_outlook::ready;
    count_drops();
    int reason = 0;
    const auto outlook = outlook_of_socket(capture_.descriptor(), reason);
    if (reason != 0)
        note_refusal(queue(), reason);
    return outlook;
}

live_tx::live_tx(port_layout& port)
    : frame_tx{port.tx[0], frame_limits_of(port).value_or(frame_limits{})}
    , settings_{settings_of(port.options.view(), "tx_iface", false)}
{
}

bool live_tx::open() noexcept
{
    settle();
    if (!reopens_.is_due())
        return false;
    const int refused = capture_.open(settings_);
    if (refused != 0) {
        reopens_.put_off();
        note_refusal(queue(), refused);
    }
    return refused == 0;
}

int live_tx::give(const mbuf& packet) noexcept
{
    const auto whole = gather(packet);
    errno = 0;
    const bool sent = ::pcap_inject(capture_.get(), whole.data(), whole.size()) >= 0;
    const int refused = sent ? 0 : errno_of(PCAP_ERROR);
    COHORT_FAULT_POINT("pcap.injected");
    return refused;
}

}  // namespace cohort::detail
