#include "tap_queue.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/port/burst_journal.hpp"
#include "queue_io.hpp"
#include "queue_words.hpp"

#include <algorithm>
#include <cerrno>

#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>

namespace cohort::detail {
namespace {

constexpr std::size_t most_fronts = 2;                // packet information and offload header
constexpr std::uint64_t untaken = ~std::uint64_t{0};  // the kernel sets no such flags

/// The descriptor takes part, again if somebody was about to destroy the port.
bool attach(int device, port_queue_layout& queue) noexcept
{
    ifreq request{};
    request.ifr_flags = IFF_ATTACH_QUEUE;
    if (::ioctl(device, TUNSETQUEUE, &request) == 0 || errno == EINVAL)  // EINVAL: it does
        return true;
    note_refusal(queue, errno);
    return false;
}

/// Cuts off the segments that a frame of `length` bytes does not reach, and frees them.
void shorten(mbuf& packet, std::size_t length) noexcept
{
    packet.pkt_len = static_cast<std::uint32_t>(length);
    auto* last = &packet;
    std::uint16_t segments = 1;
    for (;; last = last->next, ++segments) {
        last->data_len = static_cast<std::uint16_t>(std::min<std::size_t>(last->data_len, length));
        length -= last->data_len;
        if (length == 0 || !last->next)
            break;
    }
    packet.nb_segs = segments;
    if (auto* rest = last->next) {
        const auto mine = membership_of(&packet).holder();
        for (auto* segment = rest; segment; segment = segment->next)
            set_custody(*segment, mine);  // tagged by itself before the link is cut
        last->next = nullptr;
        free(rest);
    }
}

/// Where the bytes of a packet lie; 0 when it has more segments than there is room.
template <typename Packet>
std::size_t list_pieces(Packet& packet, std::span<iovec> pieces) noexcept
{
    std::size_t count = 0;
    for (auto* segment = &packet; segment; segment = segment->next) {
        if (count == pieces.size())
            return 0;
        const auto bytes = segment->bytes();
        pieces[count++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
    }
    return count;
}

}  // namespace

bool tap_rx::open(mempool_layout* pool) noexcept
{
    pool_.reset();
    if (!pool)
        return false;
    const auto position = queue_.position.load(plain);  // ours now
    auto& taken = queue_.aux[tap_queue_word::taken];
    if (queue_.aux[tap_queue_word::reading].load(plain) == position + 1 &&
        taken.load(plain) != untaken) {
        queue_.missed.fetch_add(1, plain);  // lost with the last owner
    }
    taken.store(untaken, in_order);
    if (!attach(device_, queue_))
        return false;
    pool_.emplace(*pool);
    return true;
}

/// The length of the next frame, or nothing. What the kernel says of it comes in front.
std::optional<std::size_t> tap_rx::read_frame(std::span<iovec> frame) noexcept
{
    auto& taken = queue_.aux[tap_queue_word::taken];
    taken.store(untaken, in_order);
    queue_.aux[tap_queue_word::reading].store(queue_.position.load(plain) + 1,
                                              in_order);  // READING
    std::array<iovec, most_fronts + most_tap_segments> pieces;
    pieces[0] = {&taken, sizeof(tun_pi)};
    pieces[1] = {&offload_, sizeof offload_};
    const std::size_t fronts = has_offload_ ? 2 : 1;
    std::copy(frame.begin(), frame.end(), pieces.begin() + static_cast<std::ptrdiff_t>(fronts));
    const auto front_bytes =
        static_cast<ssize_t>(sizeof(tun_pi) + (has_offload_ ? sizeof offload_ : 0));
    const auto got = ::readv(device_, pieces.data(), static_cast<int>(fronts + frame.size()));
    if (got >= front_bytes)
        return static_cast<std::size_t>(got - front_bytes);
    if (got < 0 && is_failure(errno))
        note_refusal(queue_, errno);
    return std::nullopt;
}

/// Whether a frame waits is only of interest here: a frame that finds no buffer stays where it is,
/// or is dropped if that was asked for.
tap_rx::outcome tap_rx::without_buffer() noexcept
{
    pollfd waiting{.fd = device_, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, 0) != 1 || (waiting.revents & POLLIN) == 0)
        return outcome::nothing;
    if (queue_.drop_on_empty == 0) {
        count_up(queue_.no_buffer, 1);
        return outcome::nothing;
    }
    std::array<std::byte, ETH_HLEN> start;
    iovec piece{start.data(), start.size()};
    if (!read_frame({&piece, 1}))
        return outcome::nothing;
    queue_.missed.fetch_add(1, plain);  // a count
    skip_rx(queue_, queue_.position.load(plain) + 1);
    return outcome::dropped;
}

tap_rx::outcome tap_rx::receive(mbuf*& packet) noexcept
{
    packet = pool_->alloc_chain(longest_);
    if (!packet)
        return without_buffer();
    std::array<iovec, most_tap_segments> pieces;
    const auto count = list_pieces(*packet, pieces);
    const auto length = read_frame(std::span{pieces}.first(count));
    COHORT_FAULT_POINT("tap.taken");
    if (!length) {
        free(packet);
        return outcome::nothing;
    }
    const auto position = queue_.position.load(plain) + 1;
    const auto flags = queue_.aux[tap_queue_word::taken].load(plain) & 0xffff;
    if ((flags & TUN_PKT_STRIP) != 0 || *length == 0) {  // longer than the MTU was
        free(packet);
        count_up(queue_.errors, 1);
        skip_rx(queue_, position);
        return outcome::dropped;
    }
    shorten(*packet, *length);
    packet->port = port_.index;
    packet->timestamp = wall_clock_ns();
    if (has_offload_)
        note_vnet_header(offload_, *packet);
    commit_rx(queue_, port_.index, {&packet, 1}, {.position = position, .bytes = *length});
    return outcome::received;
}

std::size_t tap_rx::burst(std::span<mbuf*> packets) noexcept
{
    const auto most = std::min(packets.size(), max_port_burst);
    std::size_t count = 0;
    for (std::size_t looks = 0; count != most && looks != max_port_burst; ++looks) {
        const auto got = receive(packets[count]);
        if (got == outcome::nothing)
            break;
        count += got == outcome::received;
    }
    return count;
}

rx_outlook tap_rx::arm() noexcept
{
    return outlook_of(device_);
}

bool tap_tx::open() noexcept
{
    settle();
    return attach(device_, queue());
}

int tap_tx::give(const mbuf& packet) noexcept
{
    tun_pi information{};
    std::array<iovec, most_fronts + 1 + most_tap_segments> pieces;
    std::size_t fronts = 0;
    pieces[fronts++] = {&information, sizeof information};
    std::span<std::byte> rewritten;
    if (has_offload_) {
        if (!headers_.fill(packet))
            return EINVAL;
        rewritten = headers_.rewritten();
        pieces[fronts++] = {&headers_.header(), sizeof headers_.header()};
        if (!rewritten.empty())
            pieces[fronts++] = {rewritten.data(), rewritten.size()};
    }
    const auto frame = std::span{pieces}.subspan(fronts);
    auto count = list_pieces(packet, frame.first(most_tap_segments));
    if (count == 0 || rewritten.size() > frame[0].iov_len) {
        const auto whole = gather(packet);
        frame[0] = {const_cast<std::byte*>(whole.data()), whole.size()};
        count = 1;
    }
    frame[0].iov_base = static_cast<std::byte*>(frame[0].iov_base) + rewritten.size();
    frame[0].iov_len -= rewritten.size();
    const auto written = ::writev(device_, pieces.data(), static_cast<int>(fronts + count));
    const int refused = written < 0 ? errno : 0;
    COHORT_FAULT_POINT("tap.written");
    return refused;
}

}  // namespace cohort::detail
