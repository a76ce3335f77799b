#include "cohort/packet/mbuf.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#include <fmt/format.h>

namespace cohort {
namespace {

void tag(mbuf& segment, std::uint64_t word) noexcept
{
    // The reaper sees the stores of a dead process in program order: keep the compiler to it.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    custody::word_at(&segment, mbuf_custody_offset)
        .store(word, std::memory_order_relaxed);  // read after death
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

/// Visits the pieces of the segments that make up [offset, offset + length).
template <typename Segment, typename Visit>
bool for_range(Segment* segment, std::size_t offset, std::size_t length, Visit visit) noexcept
{
    std::size_t done = 0;
    for (; segment && done != length; segment = segment->next) {
        const auto bytes = segment->bytes();
        if (offset >= bytes.size()) {
            offset -= bytes.size();
            continue;
        }
        const auto piece = bytes.subspan(offset, std::min(bytes.size() - offset, length - done));
        visit(piece, done);
        done += piece.size();
        offset = 0;
    }
    return done == length;
}

}  // namespace

bool chain(mbuf& head, mbuf& tail) noexcept
{
    const auto segments = std::uint32_t{head.nb_segs} + tail.nb_segs;
    const auto length = std::uint64_t{head.pkt_len} + tail.pkt_len;
    if (segments > std::numeric_limits<std::uint16_t>::max() ||
        length > std::numeric_limits<std::uint32_t>::max())
        return false;
    head.last().next = &tail;
    tag(tail, custody::follower | membership_of(&head).holder());  // I5: link first, then tag
    head.nb_segs = static_cast<std::uint16_t>(segments);
    head.pkt_len = static_cast<std::uint32_t>(length);
    return true;
}

void free(mbuf* head) noexcept
{
    if (!head)
        return;
    if (!head->next) [[likely]] {
        mempool{*head->pool}.put(head);
        return;
    }
    // A chain comes apart in three steps: the head stops being a received packet, every segment is
    // tagged by itself, and only then links are cut.
    const auto mine = membership_of(head).holder();
    for (mbuf* segment = head; segment; segment = segment->next)
        tag(*segment, mine);
    while (head) {
        mbuf* next = head->next;
        head->next = nullptr;
        head->nb_segs = 1;
        mempool{*head->pool}.put(head);
        head = next;
    }
}

void free_bulk(std::span<mbuf* const> packets) noexcept
{
    // Runs of single-segment packets of one pool go back in one call.
    std::array<void*, 64> run;
    std::size_t length = 0;
    mempool_layout* pool = nullptr;
    const auto flush = [&] {
        if (length != 0)
            mempool{*pool}.put_bulk({run.data(), length});
        length = 0;
    };
    for (mbuf* packet : packets) {
        if (!packet || packet->next) {
            free(packet);
            continue;
        }
        if (packet->pool != pool || length == run.size())
            flush();
        pool = packet->pool;
        run[length++] = packet;
    }
    flush();
}

bool read(const mbuf& packet, std::size_t offset, std::span<std::byte> out) noexcept
{
    if (offset + out.size() > packet.pkt_len)
        return false;
    return for_range(&packet, offset, out.size(), [&](auto piece, std::size_t done) {
        std::memcpy(out.data() + done, piece.data(), piece.size());
    });
}

bool write(mbuf& packet, std::size_t offset, std::span<const std::byte> in) noexcept
{
    if (offset + in.size() > packet.pkt_len)
        return false;
    return for_range(&packet, offset, in.size(), [&](auto piece, std::size_t done) {
        std::memcpy(piece.data(), in.data() + done, piece.size());
    });
}

const char* find_fault(const mbuf& packet, bool is_head) noexcept
{
    if (!packet.pool || !packet.buf_addr)
        return "no pool or no buffer";
    if (packet.refcnt == 0)
        return "the reference count is 0";
    if (packet.data_off > packet.buf_len || packet.data_len > packet.buf_len - packet.data_off)
        return "the data lies outside the buffer";
    if (!is_head)
        return nullptr;
    std::uint32_t segments = 0;
    std::uint64_t length = 0;
    for (const mbuf* segment = &packet; segment; segment = segment->next) {
        if (++segments > packet.nb_segs)
            return "there are more segments than nb_segs";
        length += segment->data_len;
        if (segment != &packet)
            if (const char* fault = find_fault(*segment, false))
                return fault;
    }
    if (segments != packet.nb_segs)
        return "there are fewer segments than nb_segs";
    if (length != packet.pkt_len)
        return "pkt_len is not the sum of the segments";
    return nullptr;
}

mbuf* pktmbuf_pool::alloc_chain(std::size_t length) noexcept
{
    mbuf* head = alloc();
    if (!head)
        return nullptr;
    auto left = length;
    const auto fill = [&](mbuf& segment) {
        const auto part = std::min<std::size_t>(left, segment.tailroom());
        left -= segment.append(static_cast<std::uint16_t>(part)).size();
    };
    fill(*head);
    while (left != 0) {
        mbuf* segment = alloc();
        if (segment) {
            segment->data_off = 0;  // only the head needs headroom
            fill(*segment);
        }
        if (!segment || !chain(*head, *segment)) {
            free(segment);
            free(head);
            return nullptr;
        }
    }
    return head;
}

mempool_options as_mempool(const pktmbuf_options& options)
{
    if (options.private_bytes % 8 != 0)
        throw error{errc::invalid_argument, fmt::format("the private area of {} bytes must be a "
                                                        "multiple of 8",
                                                        options.private_bytes)};
    if (options.data_room == 0)
        throw error{errc::invalid_argument, "the data room must have at least 1 byte"};
    return {.count = options.count,
            .element_bytes = static_cast<std::uint32_t>(sizeof(mbuf)) + options.private_bytes +
                             options.data_room,
            .cache_size = options.cache_size,
            .policy = options.policy,
            .redeliver_to = options.redeliver_to,
            .numa_node = options.numa_node};
}

void initialise_mbufs(mempool_layout& pool, const pktmbuf_options& options) noexcept
{
    pool.private_bytes = options.private_bytes;
    pool.data_room = options.data_room;
    for (std::uint32_t i = 0; i != pool.count; ++i) {
        auto& packet = *::new (pool.handle(i)) mbuf{};
        packet.buf_addr = reinterpret_cast<std::byte*>(&packet + 1) + options.private_bytes;
        packet.buf_len = options.data_room;
        packet.priv_size = options.private_bytes;
        packet.pool = &pool;
        packet.refcnt = 1;
        packet.reset();
    }
}

}  // namespace cohort
