#include "packet_queue.hpp"

#include "cohort/base/copy_bytes.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/port/burst_journal.hpp"
#include "interface_view.hpp"
#include "queue_io.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <sys/socket.h>

namespace cohort::detail {
namespace {

constexpr std::uint8_t consumed = 1;  // in the padding of an rx frame, which the kernel zeroes
constexpr std::size_t addresses_bytes = 2 * ETH_ALEN;
constexpr std::size_t tag_bytes = 4;

tpacket2_hdr& header_of(std::byte* frame) noexcept
{
    return *reinterpret_cast<tpacket2_hdr*>(frame);
}

// Between the kernel and this process. Acquired when the kernel hands a frame over, released when
// it gets it back.
std::uint32_t status_of(std::byte* frame) noexcept
{
    return std::atomic_ref{header_of(frame).tp_status}.load(std::memory_order_acquire);  // FRAME
}

std::atomic_ref<std::uint64_t> status_and_length(std::byte* frame) noexcept
{
    static_assert(offsetof(tpacket2_hdr, tp_status) == 0 && offsetof(tpacket2_hdr, tp_len) == 4);
    return std::atomic_ref{*reinterpret_cast<std::uint64_t*>(frame)};
}

/// Not taken, in the making or sent: its length says which.
bool is_available(std::byte* frame) noexcept
{
    return (status_of(frame) & (TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING)) == 0;
}

std::uint64_t first_of_last(std::uint64_t position) noexcept
{
    return position - std::min<std::uint64_t>(position, max_port_burst);
}

}  // namespace

bool packet_rx::open(mempool_layout* pool) noexcept
{
    pool_.reset();
    if (!pool)
        return false;
    pool_.emplace(*pool);
    const auto position = queue_.position.load(std::memory_order_relaxed);  // ours now
    give_back(first_of_last(position), position);
    return true;
}

/// Those of the frames that are marked; among the last ones that is what a dead owner has kept.
void packet_rx::give_back(std::uint64_t from, std::uint64_t to) noexcept
{
    for (auto at = rings_.rx_from(from); from != to; ++from, ++at) {
        auto* frame = *at;
        auto& header = header_of(frame);
        if ((status_of(frame) & TP_STATUS_USER) != 0 && header.tp_padding[0] == consumed)
            std::atomic_ref{header.tp_status}.store(TP_STATUS_KERNEL,
                                                    std::memory_order_release);  // FRAME
    }
}

/// How many frames the kernel has filled, `most` at most. Their bytes are on the way into the cache
/// then, for all of them at once.
std::size_t packet_rx::count_ready(std::uint64_t from, std::size_t most) const noexcept
{
    auto at = rings_.rx_from(from);
    for (std::size_t i = 0; i != most; ++i, ++at) {
        if ((status_of(*at) & TP_STATUS_USER) == 0)
            return i;
        __builtin_prefetch(*at + header_of(*at).tp_mac);
    }
    return most;
}

/// A packet as it was on the wire: a VLAN tag that the kernel took out is put back. In `into`, when
/// it has room, else in a chain that takes its place; nullptr when there is no buffer for that.
mbuf* packet_rx::copy_out(const std::byte* frame, mbuf* into) noexcept
{
    const auto& header = *reinterpret_cast<const tpacket2_hdr*>(frame);
    const std::span bytes{frame + header.tp_mac, header.tp_snaplen};
    const bool tagged =
        (header.tp_status & TP_STATUS_VLAN_VALID) != 0 && bytes.size() >= addresses_bytes;
    const auto length = bytes.size() + (tagged ? tag_bytes : 0);
    auto* packet = into;
    if (length > into->tailroom()) [[unlikely]] {
        packet = pool_->alloc_chain(length);
        if (!packet)
            return nullptr;
        free(into);
    } else {
        packet->data_len = static_cast<std::uint16_t>(length);
        packet->pkt_len = static_cast<std::uint32_t>(length);
    }
    if (tagged) {
        const auto kind = (header.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0
                              ? header.tp_vlan_tpid
                              : std::uint16_t{ETH_P_8021Q};
        const std::array tag{htons(kind), htons(header.tp_vlan_tci)};
        static_cast<void>(write(*packet, 0, bytes.first(addresses_bytes)) &&
                          write(*packet, addresses_bytes, std::as_bytes(std::span{tag})) &&
                          write(*packet, addresses_bytes + tag_bytes,
                                bytes.subspan(addresses_bytes)));  // it is as long as that
    } else if (packet->is_contiguous()) [[likely]] {
        copy_bytes(packet->data<std::byte>(), bytes.data(), bytes.size());
    } else {
        static_cast<void>(write(*packet, 0, bytes));
    }
    packet->port = port_.index;
    packet->timestamp = header.tp_sec * 1'000'000'000ull + header.tp_nsec;
    return packet;
}

std::size_t packet_rx::burst(std::span<mbuf*> packets) noexcept
{
    const auto from = queue_.position.load(std::memory_order_relaxed);  // ours alone
    const auto ready = count_ready(from, std::min(packets.size(), max_port_burst));
    if (ready == 0)
        return 0;
    // All at once where the pool has as many. Those for frames that turn out to be no packets go
    // back at the end.
    auto stock = pool_->alloc_bulk(packets.first(ready)) ? ready : 0;
    burst_result result{.position = from};
    std::size_t count = 0;
    for (auto at = rings_.rx_from(from); result.position - from != ready; ++at) {
        auto& header = header_of(*at);
        if (count == stock && (packets[count] = pool_->alloc()))
            ++stock;
        if (header.tp_snaplen < header.tp_len) {  // longer than the MTU was
            count_up(queue_.errors, 1);
        } else if (auto* packet = count != stock ? copy_out(*at, packets[count]) : nullptr) {
            packets[count++] = packet;
            result.bytes += packet->pkt_len;
        } else if (queue_.drop_on_empty != 0) {
            queue_.missed.fetch_add(1, std::memory_order_relaxed);  // a count
        } else {
            count_up(queue_.no_buffer, 1);
            break;
        }
        std::atomic_ref{header.tp_padding[0]}.store(consumed, std::memory_order_release);
        ++result.position;
    }
    if (count < stock)
        free_bulk(packets.subspan(count, stock - count));
    if (count != 0)
        commit_rx(queue_, port_.index, packets.first(count), result);
    else if (result.position != from)
        skip_rx(queue_, result.position);
    COHORT_FAULT_POINT("af_packet.received");
    give_back(from, result.position);
    return count;
}

/// The kernel says the socket is readable as long as the last frame that it filled is not back.
rx_outlook packet_rx::arm() noexcept
{
    const auto position = queue_.position.load(std::memory_order_relaxed);  // ours alone
    if ((status_of(*rings_.rx_from(position)) & TP_STATUS_USER) != 0)
        return rx_outlook::ready;
    int reason = 0;
    const auto outlook = outlook_of_socket(socket_, reason);
    if (reason != 0)
        queue_.last_errno.store(reason, std::memory_order_relaxed);  // for display
    return outlook;
}

bool packet_tx::open() noexcept
{
    const auto position = queue_.position.load(std::memory_order_relaxed);  // ours now
    request(first_of_last(position), position);
    static_cast<void>(kick());  // the first burst tells
    return true;
}

/// Hands frames to the kernel that have been committed and not handed over. Status and length
/// change by one store, so that a frame is never sent twice.
void packet_tx::request(std::uint64_t from, std::uint64_t to) noexcept
{
    for (auto at = rings_.tx_from(from); from != to; ++from, ++at) {
        auto* frame = *at;
        const auto& header = header_of(frame);
        if (!is_available(frame) || header.tp_len != 0 || header.tp_snaplen == 0)
            continue;
        status_and_length(frame).store(std::uint64_t{header.tp_snaplen} << 32 |
                                           TP_STATUS_SEND_REQUEST,
                                       std::memory_order_release);  // FRAME
        COHORT_FAULT_POINT("af_packet.requested");
    }
}

/// The kernel takes frames in order, so the last one tells whether it still has some to be asked
/// for: those for which there was no memory, or no link.
bool packet_tx::was_turned_down() const noexcept
{
    const auto position = queue_.position.load(std::memory_order_relaxed);  // ours alone
    return position != 0 &&
           (status_of(*rings_.tx_from(position - 1)) & TP_STATUS_SEND_REQUEST) != 0;
}

bool packet_tx::kick() noexcept
{
    const auto sent = ::sendto(socket_, nullptr, 0, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0);
    if (sent >= 0 || errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
        return true;
    queue_.last_errno.store(errno, std::memory_order_relaxed);  // for display
    return false;
}

/// The kernel passes over a frame above the MTU without a word, and that may have been lowered. Any
/// interface takes the shortest ones.
frame_limits packet_tx::limits_for(std::span<mbuf* const> packets) const noexcept
{
    constexpr std::size_t always_taken = ETH_MIN_MTU + ETH_HLEN;
    if (std::ranges::all_of(packets, [](auto* one) { return one->pkt_len <= always_taken; }))
        return at_creation_;
    const auto mtu = mtu_of_interface(socket_, interface_);
    auto now = at_creation_;
    if (mtu != 0)
        now.whole = std::min<std::size_t>(now.whole, mtu + ETH_HLEN);
    now.cut = now.whole;
    return now;
}

bool packet_tx::stage(std::byte* frame, const mbuf& packet) noexcept
{
    if (!is_available(frame))
        return false;
    status_and_length(frame).store(TP_STATUS_AVAILABLE, std::memory_order_release);  // length 0
    header_of(frame).tp_snaplen = packet.pkt_len;
    return read(packet, 0, {frame + ring_shape::header_bytes, packet.pkt_len});
}

std::size_t packet_tx::burst(std::span<mbuf* const> packets) noexcept
{
    const auto most = std::min(packets.size(), max_port_burst);
    const auto limits = limits_for(packets.first(most));
    if (most != 0 && !limits.allow(*packets[0])) {
        count_up(queue_.errors, 1);  // the interface would refuse it for ever
        free(packets[0]);
        return 1;
    }
    const auto from = queue_.position.load(std::memory_order_relaxed);  // ours alone
    burst_result result{.position = from};
    std::size_t count = 0;
    for (auto at = rings_.tx_from(from); count != most; ++count, ++at) {
        const auto& packet = *packets[count];
        if (!limits.allow(packet) || !stage(*at, packet))
            break;
        result.bytes += packet.pkt_len;
        ++result.position;
    }
    if (count != 0) {
        begin_tx(queue_, packets.first(count), result);
        commit_tx(queue_, packets.first(count));
        COHORT_FAULT_POINT("af_packet.committed");
        request(from, result.position);
    }
    // Whoever asks again with nothing, perhaps all the time, counts no errors.
    if ((most != 0 || was_turned_down()) && !kick() && most != 0)
        count_up(queue_.errors, 1);
    return count;
}

}  // namespace cohort::detail
