#include "xdp_queue.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/port/burst_journal.hpp"
#include "queue_io.hpp"
#include "queue_words.hpp"

#include <algorithm>
#include <cerrno>
#include <thread>

#include <sys/socket.h>

namespace cohort::detail {
namespace {

constexpr std::size_t refill_batch = 32;
constexpr int most_kicks = 8;  // the kernel sends so and so many at each

std::uint64_t custody_now(mbuf& packet) noexcept
{
    return std::atomic_ref{packet.custody}.load(plain);
}

/// A buffer that the device had is this member's, if it is still there under that word.
bool take_from_device(mbuf& packet, std::uint64_t word, std::uint64_t holder) noexcept
{
    return std::atomic_ref{packet.custody}.compare_exchange_strong(word, holder,
                                                                   std::memory_order_acq_rel);
}

/// A reason that passes.
bool is_busy(int number) noexcept
{
    return number == EAGAIN || number == EBUSY || number == ENOBUFS || number == EINTR;
}

}  // namespace

bool xdp_rx::open(mempool_layout* pool) noexcept
{
    if (pool != &device_.pool())
        return false;
    rings_.rx.consume_until(queue_.position.load(plain));  // ours now
    take_back_unposted();
    if (const int refused = device_.connect(number_, socket_); refused != 0) {
        note_xdp_refusal(queue_, refused);
        return false;
    }
    refill();
    return true;
}

/// What the last owner was posting when it died: the kernel has not seen it.
void xdp_rx::take_back_unposted() noexcept
{
    auto& posted = queue_.aux[xdp_queue_word::posted];
    const auto until = posted.load(plain);
    const auto left = static_cast<std::uint32_t>(until) - rings_.fill.produced();
    if (left == 0 || left > max_port_burst)
        return;
    std::array<mbuf*, max_port_burst> back;
    std::size_t count = 0;
    const auto holder = membership_of(&queue_).holder();
    for (auto at = until - left; at != until; ++at)
        if (auto* packet = device_.buffer_at(rings_.fill.slot(at));
            packet && take_from_device(*packet, word_, holder))
            back[count++] = packet;
    COHORT_FAULT_POINT("af_xdp.unposted");
    posted.store(until - left, in_order);
    free_bulk(std::span{back}.first(count));
}

/// Up to `wanted` buffers of the pool into the fill ring; returns how many.
std::size_t xdp_rx::post(std::size_t wanted) noexcept
{
    std::array<mbuf*, max_port_burst> fresh;
    auto count = std::min(wanted, fresh.size());
    pktmbuf_pool pool{device_.pool()};
    while (count != 0 && !pool.alloc_bulk(std::span{fresh}.first(count)))
        count /= 2;
    if (count == 0)
        return 0;
    auto& posted = queue_.aux[xdp_queue_word::posted];
    const auto from = posted.load(plain);
    for (std::size_t i = 0; i != count; ++i)
        rings_.fill.slot(from + i) = device_.umem().to_kernel(fresh[i]->buf_addr);
    posted.store(from + count, in_order);  // POSTING
    COHORT_FAULT_POINT("af_xdp.posting");
    for (auto* packet : std::span{fresh}.first(count))
        std::atomic_ref{packet->custody}.store(word_, in_order);
    COHORT_FAULT_POINT("af_xdp.tagged");
    rings_.fill.produce_until(from + count);
    return count;
}

/// The kernel has as many buffers as a ring has slots, so that its rx ring is never full.
void xdp_rx::refill() noexcept
{
    auto& posted = queue_.aux[xdp_queue_word::posted];
    const auto room = [&] {
        return rings_.fill.slots() - (posted.load(plain) - queue_.position.load(plain));
    };
    if (room() < refill_batch)
        return;
    while (const auto wanted = room())
        if (post(wanted) == 0) {
            count_up(queue_.no_buffer, 1);
            break;
        }
    if (rings_.fill.needs_wakeup())
        static_cast<void>(::recvfrom(socket_, nullptr, 0, MSG_DONTWAIT, nullptr, nullptr));
}

/// The packet that lies in a slot, or nullptr when the slot is not sound.
mbuf* xdp_rx::packet_in(const xdp_desc& slot) const noexcept
{
    auto* packet = device_.buffer_at(slot.addr);
    if (!packet || custody_now(*packet) != word_)
        return nullptr;
    const auto start = reinterpret_cast<std::uintptr_t>(packet->buf_addr);
    const auto at = device_.umem().from_kernel(slot.addr);
    if (at < start || at - start + slot.len > packet->buf_len)
        return nullptr;
    packet->data_off = static_cast<std::uint16_t>(at - start);
    packet->data_len = static_cast<std::uint16_t>(slot.len);
    packet->pkt_len = slot.len;
    packet->port = device_.port().index;
    return packet;
}

std::size_t xdp_rx::burst(std::span<mbuf*> packets) noexcept
{
    const auto from = queue_.position.load(plain);  // ours alone
    const auto ready = rings_.rx.produced() - static_cast<std::uint32_t>(from);
    const auto most = std::min({packets.size(), max_port_burst, std::size_t{ready}});
    burst_result result{.position = from + most};
    std::size_t count = 0;
    const auto now = most != 0 ? wall_clock_ns() : 0;
    // The kernel has had the buffers for long: their headers come into the cache side by side.
    for (std::size_t i = 0; i != most; ++i)
        if (const auto* packet = device_.buffer_at(rings_.rx.slot(from + i).addr)) {
            __builtin_prefetch(packet, 1);
            __builtin_prefetch(&packet->next, 1);
        }
    for (std::size_t i = 0; i != most; ++i) {
        auto* packet = packet_in(rings_.rx.slot(from + i));
        if (!packet) {
            count_up(queue_.errors, 1);
            continue;
        }
        packet->timestamp = now;
        result.bytes += packet->pkt_len;
        packets[count++] = packet;
    }
    if (count != 0)
        commit_rx_from_device(queue_, device_.port().index, packets.first(count), result, word_);
    else if (most != 0)
        skip_rx(queue_, result.position);
    if (most != 0) {
        COHORT_FAULT_POINT("af_xdp.received");
        rings_.rx.consume_until(result.position);
    }
    refill();
    return count;
}

/// Without a buffer the kernel has nothing to wake for: then the pool is polled.
rx_outlook xdp_rx::arm() noexcept
{
    const auto position = queue_.position.load(plain);  // ours alone
    if (rings_.rx.produced() != static_cast<std::uint32_t>(position))
        return rx_outlook::ready;
    refill();
    if (queue_.aux[xdp_queue_word::posted].load(plain) == position)
        return rx_outlook::ready;
    return outlook_of(socket_);
}

bool xdp_tx::open() noexcept
{
    complete();
    rings_.tx.produce_until(queue_.position.load(plain));  // ours now
    kick();
    return true;
}

/// Frees what the kernel has sent.
void xdp_tx::complete() noexcept
{
    const auto holder = membership_of(&queue_).holder();
    for (;;) {
        const auto from = rings_.completion.consumed();
        const auto ready = rings_.completion.produced() - from;
        const auto most = std::min<std::size_t>(ready, max_port_burst);
        if (most == 0)
            return;
        std::array<mbuf*, max_port_burst> sent;
        std::size_t count = 0;
        for (std::size_t i = 0; i != most; ++i)
            if (auto* packet = device_.buffer_at(rings_.completion.slot(from + i));
                packet && take_from_device(*packet, word_, holder))
                sent[count++] = packet;
        COHORT_FAULT_POINT("af_xdp.completing");
        rings_.completion.consume_until(from + most);
        free_bulk(std::span{sent}.first(count));
    }
}

void xdp_tx::kick() noexcept
{
    for (int i = 0; i != most_kicks && rings_.tx.consumed() != rings_.tx.produced(); ++i) {
        if (!rings_.tx.needs_wakeup() ||
            ::sendto(socket_, nullptr, 0, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0) >= 0)
            continue;
        if (!is_busy(errno)) {
            note_xdp_refusal(queue_, errno);
            return;
        }
    }
}

/// It lies in the kernel's memory, in one piece, and is nobody else's.
bool xdp_tx::is_sendable(const mbuf& packet) const noexcept
{
    return packet.pool == &device_.pool() && packet.is_plain();
}

mbuf* xdp_tx::copy_of(const mbuf& packet) const noexcept
{
    auto* copy = pktmbuf_pool{device_.pool()}.alloc();
    if (copy)
        static_cast<void>(
            read(packet, 0,
                 std::as_writable_bytes(std::span{copy->append(
                     static_cast<std::uint16_t>(packet.pkt_len))})));  // it fits: see `limits_`
    return copy;
}

/// As many packets into slots of the tx ring as are fit and find room.
void xdp_tx::stage(std::span<mbuf* const> packets, std::uint64_t position, staged& burst) noexcept
{
    for (auto* packet : packets) {
        const bool sendable = is_sendable(*packet);
        const auto handles = burst.packets + burst.copies + (sendable ? 1 : 2);
        if (!limits_.allow(*packet) || handles > max_port_burst)
            return;
        auto* given = packet;
        if (!sendable) {
            given = copy_of(*packet);
            if (!given)
                return;
            burst.copied[burst.copies++] = packet;
        }
        rings_.tx.slot(position +
                       burst.packets) = {.addr = device_.umem().to_kernel(given->data<std::byte>()),
                                         .len = given->pkt_len,
                                         .options = 0};
        burst.given[burst.packets++] = given;
        burst.bytes += given->pkt_len;
    }
}

std::size_t xdp_tx::burst(std::span<mbuf* const> packets) noexcept
{
    complete();
    if (packets.empty())
        return 0;
    if (!limits_.allow(*packets[0])) {
        count_up(queue_.errors, 1);  // the interface would refuse it for ever
        free(packets[0]);
        return 1;
    }
    const auto from = queue_.position.load(plain);  // ours alone
    const auto held = static_cast<std::uint32_t>(from) - rings_.completion.consumed();
    const auto room = rings_.tx.slots() - std::min(held, rings_.tx.slots());
    staged burst;
    stage(packets.first(std::min<std::size_t>(packets.size(), room)), from, burst);
    if (burst.packets != 0) {
        const auto copied = std::span{burst.copied}.first(burst.copies);
        commit_tx_to_device(queue_, {std::span{burst.given}.first(burst.packets), copied},
                            burst.packets, {.position = from + burst.packets, .bytes = burst.bytes},
                            word_);
        COHORT_FAULT_POINT("af_xdp.committed");
        rings_.tx.produce_until(from + burst.packets);
        free_bulk(copied);
    }
    kick();
    complete();
    return burst.packets;
}

bool xdp_tx::flush() noexcept
{
    rings_.tx.produce_until(queue_.position.load(plain));
    const auto until = deadline_in(1s);
    // What the kernel has not begun with it never touches unless it is asked to.
    const auto is_done = [&] { return rings_.completion.produced() == rings_.tx.consumed(); };
    for (;;) {
        kick();
        if (is_done() && rings_.tx.consumed() == rings_.tx.produced())
            return true;
        if (steady_clock::now() >= until)
            return is_done();
        std::this_thread::sleep_for(1ms);
    }
}

const char* find_fault(const xdp_device& device, std::uint16_t queue,
                       const xdp_rings& rings) noexcept
{
    const auto& rx = device.port().rx[queue];
    const auto& tx = device.port().tx[queue];
    const auto posted = rx.aux[xdp_queue_word::posted].load(plain);
    if (posted - rx.position.load(plain) > rings.fill.slots())
        return "the kernel has more buffers than the fill ring has slots";
    if (static_cast<std::uint32_t>(posted) != rings.fill.produced())
        return "buffers were written into the fill ring and not posted";
    if (static_cast<std::uint32_t>(rx.position.load(plain)) != rings.rx.consumed())
        return "the rx ring is not where the position is";
    if (static_cast<std::uint32_t>(tx.position.load(plain)) != rings.tx.produced())
        return "the tx ring is not where the position is";
    const auto word_of = [&](std::uint32_t i) {
        return custody_now(*static_cast<mbuf*>(device.pool().handle(i)));
    };
    std::uint64_t with_rx = 0;
    std::uint32_t with_tx = 0;
    for (std::uint32_t i = 0, count = device.pool().count(); i != count; ++i) {
        with_rx += word_of(i) == posted_word(device.port().index, queue);
        with_tx += word_of(i) == sending_word(device.port().index, queue);
    }
    if (with_rx != posted - rx.position.load(plain))
        return "not as many buffers are the device's as were posted and not received";
    if (with_tx != rings.tx.produced() - rings.completion.consumed())
        return "not as many buffers are the device's as were sent and not completed";
    return nullptr;
}

}  // namespace cohort::detail
