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

constexpr std::uint64_t untaken = ~std::uint64_t{0};  // the kernel sets no such flags
constexpr std::size_t tag_bytes = 4;

/// False for a reason that passes.
bool is_failure(int number) noexcept
{
    return number != EAGAIN && number != EINTR && number != ENOBUFS && number != ENOMEM;
}

/// An interface that is gone refuses at every call: that is one error, not one for each look.
void note_refusal(port_queue_layout& queue, int number) noexcept
{
    if (queue.last_errno.exchange(number, plain) != number)  // for display
        count_up(queue.errors, 1);
}

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

std::size_t longest_tap_frame(std::uint32_t mtu) noexcept
{
    return std::size_t{mtu} + ETH_HLEN + tag_bytes;
}

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

/// The length of the next frame, or nothing. `pieces` has room for the packet information in front.
std::optional<std::size_t> tap_rx::read_frame(std::span<iovec> pieces) noexcept
{
    auto& taken = queue_.aux[tap_queue_word::taken];
    taken.store(untaken, in_order);
    queue_.aux[tap_queue_word::reading].store(queue_.position.load(plain) + 1,
                                              in_order);  // READING
    pieces[0] = {&taken, sizeof(tun_pi)};
    const auto got = ::readv(device_, pieces.data(), static_cast<int>(pieces.size()));
    if (got >= static_cast<ssize_t>(sizeof(tun_pi)))
        return static_cast<std::size_t>(got) - sizeof(tun_pi);
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
    std::array<iovec, 2> pieces{iovec{}, iovec{start.data(), start.size()}};
    if (!read_frame(pieces))
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
    std::array<iovec, 1 + most_tap_segments> pieces;
    const auto count = list_pieces(*packet, std::span{pieces}.subspan(1));
    const auto length = read_frame(std::span{pieces}.first(1 + count));
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
    auto& writing = queue_.aux[tap_queue_word::writing];
    if (writing.load(plain) != 0 && writing.load(plain) == queue_.position.load(plain)) {
        queue_.errors.store(queue_.aux[tap_queue_word::errors].load(plain) + 1, in_order);
    }
    writing.store(0, in_order);
    return attach(device_, queue_);
}

/// 0, or why the kernel did not take it.
int tap_tx::write_frame(const mbuf& packet) noexcept
{
    tun_pi information{};
    std::array<iovec, 1 + most_tap_segments> pieces;
    pieces[0] = {&information, sizeof information};
    auto count = list_pieces(packet, std::span{pieces}.subspan(1));
    if (count == 0) {
        static_cast<void>(read(packet, 0, std::span{gathered_}.first(packet.pkt_len)));
        pieces[1] = {gathered_.data(), packet.pkt_len};
        count = 1;
    }
    return ::writev(device_, pieces.data(), static_cast<int>(1 + count)) < 0 ? errno : 0;
}

/// False when the packet stays with the caller. Afterwards it is as good as free: it is no longer
/// marked as received, and what is left is to put it back.
bool tap_tx::send(mbuf& packet) noexcept
{
    if (packet.pkt_len > longest_ || packet.pkt_len < ETH_HLEN) {
        count_up(queue_.errors, 1);
        return true;
    }
    mbuf* const one = &packet;
    const auto before = queue_.position.load(plain);  // ours alone
    auto& writing = queue_.aux[tap_queue_word::writing];
    begin_tx(queue_, {&one, 1}, {.position = before + 1, .bytes = packet.pkt_len});
    queue_.aux[tap_queue_word::errors].store(queue_.errors.load(plain), in_order);
    writing.store(before + 1, in_order);  // WRITING
    promise_tx(queue_);
    const int refused = write_frame(packet);
    COHORT_FAULT_POINT("tap.written");
    if (refused != 0) {
        withdraw_tx(queue_, before);
        writing.store(0, in_order);
        if (!is_failure(refused))
            return false;
        count_up(queue_.errors, 1);
        queue_.last_errno.store(refused, plain);  // for display
        return true;
    }
    writing.store(0, in_order);
    finish_tx(queue_, {&one, 1});
    return true;
}

std::size_t tap_tx::burst(std::span<mbuf* const> packets) noexcept
{
    const auto most = std::min(packets.size(), max_port_burst);
    std::size_t count = 0;
    while (count != most && send(*packets[count]))
        ++count;
    free_bulk(packets.first(count));
    return count;
}

}  // namespace cohort::detail
