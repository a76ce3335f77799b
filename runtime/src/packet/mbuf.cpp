#include "cohort/packet/mbuf.hpp"

#include "cohort/base/copy_bytes.hpp"
#include "cohort/base/error.hpp"
#include "put_batch.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include <fmt/format.h>

namespace cohort {
namespace {

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

void free_bulk(std::span<mbuf* const> packets) noexcept
{
    detail::put_batch batch;
    for (mbuf* packet : packets) {
        if (!packet)
            continue;
        if (!packet->is_plain()) [[unlikely]] {
            detail::free_slowly(packet);
            continue;
        }
        batch.add(*packet);
    }
}

bool read(const mbuf& packet, std::size_t offset, std::span<std::byte> out) noexcept
{
    if (offset + out.size() > packet.pkt_len)
        return false;
    return for_range(&packet, offset, out.size(), [&](auto piece, std::size_t done) {
        copy_bytes(out.data() + done, piece.data(), piece.size());
    });
}

bool write(mbuf& packet, std::size_t offset, std::span<const std::byte> in) noexcept
{
    if (offset + in.size() > packet.pkt_len)
        return false;
    return for_range(&packet, offset, in.size(), [&](auto piece, std::size_t done) {
        copy_bytes(piece.data(), in.data() + done, piece.size());
    });
}

namespace {

const char* find_segment_fault(const mbuf& segment) noexcept
{
    if (!segment.pool || !segment.buf_addr)
        return "no pool or no buffer";
    if (segment.refcnt == 0)
        return "the reference count is 0";
    if (segment.data_off > segment.buf_len || segment.data_len > segment.buf_len - segment.data_off)
        return "the data lies outside the buffer";
    const reference_word word{segment.share_word()};
    if (segment.is_direct() && !word.has_handle())
        return "its handle has been let go";
    const bool in_place = segment.pool->index_of(reinterpret_cast<std::uint64_t>(&segment)) !=
                          mempool_layout::no_object;
    if (in_place && segment.is_direct() && !segment.pool->pinned &&
        segment.buf_addr !=
            reinterpret_cast<const std::byte*>(&segment + 1) + segment.pool->private_bytes)
        return "it is no clone, and its buffer is not its own";
    if (segment.is_clone() && !const_cast<mbuf&>(segment).direct().is_direct())
        return "it is a clone of a clone";
    return nullptr;
}

}  // namespace

const char* find_fault(const mbuf& packet, bool is_head) noexcept
{
    if (const char* fault = find_segment_fault(packet); fault || !is_head)
        return fault;
    std::uint32_t segments = 0;
    std::uint64_t length = 0;
    for (const mbuf* segment = &packet; segment; segment = segment->next) {
        if (++segments > packet.nb_segs)
            return "there are more segments than nb_segs";
        length += segment->data_len;
        if (segment != &packet)
            if (const char* fault = find_segment_fault(*segment))
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
    if (options.history > max_history || (options.history & (options.history - 1)) != 0)
        throw error{errc::invalid_argument,
                    fmt::format("a history of {} events is asked for; 0 or a power of two up to {} "
                                "is allowed",
                                options.history, max_history)};
    std::size_t buffers = 0;
    for (const auto piece : options.pieces)
        buffers += piece.size() / options.data_room;
    if (!options.pieces.empty() && buffers < options.count)
        throw error{errc::invalid_argument,
                    fmt::format("the pieces of memory have room for {} buffers of {} bytes; {} are "
                                "asked for",
                                buffers, options.data_room, options.count)};
    const auto room = options.pieces.empty() ? options.data_room : std::uint16_t{0};
    return {.count = options.count,
            .element_bytes =
                static_cast<std::uint32_t>(sizeof(mbuf)) + options.private_bytes + room,
            .cache_size = options.cache_size,
            .policy = options.policy,
            .redeliver_to = options.redeliver_to,
            .numa_node = options.numa_node,
            .spread = options.spread,
            .private_area_bytes = options.private_area_bytes,
            .backing = options.backing};
}

std::size_t pktmbuf_pool_bytes(const pktmbuf_options& options, pool_filling when)
{
    return mempool_bytes(as_mempool(options), 0, when) +
           history_bytes(options.count, options.history);
}

namespace {

/// Hands out buffers of one size from several pieces of memory.
class piece_cutter {
public:
    piece_cutter(std::span<const std::span<std::byte>> pieces, std::size_t bytes) noexcept
        : pieces_{pieces}
        , bytes_{bytes}
    {
    }
    /// REQUIRES: there is one left.
    std::byte* next() noexcept
    {
        while (pieces_.front().size() - used_ < bytes_) {
            pieces_ = pieces_.subspan(1);
            used_ = 0;
        }
        used_ += bytes_;
        return pieces_.front().data() + used_ - bytes_;
    }

private:
    std::span<const std::span<std::byte>> pieces_;
    std::size_t bytes_;
    std::size_t used_ = 0;
};

}  // namespace

mbuf& initialise_mbuf(mempool_layout& pool, void* at, std::byte* pinned) noexcept
{
    auto& packet = *::new (at) mbuf{};
    packet.buf_addr =
        pinned ? pinned : reinterpret_cast<std::byte*>(&packet + 1) + pool.private_bytes;
    packet.ol_flags = pinned ? mbuf_flag::external : 0;
    packet.buf_len = pool.data_room;
    packet.priv_size = pool.private_bytes;
    packet.pool = &pool;
    packet.refcnt = 1;
    packet.share = reference_word::pristine;
    packet.reset();
    return packet;
}

void initialise_mbufs(mempool_layout& pool, const pktmbuf_options& options,
                      pool_filling when) noexcept
{
    pool.private_bytes = options.private_bytes;
    pool.data_room = options.data_room;
    pool.pinned = options.pieces.empty() ? 0 : 1;
    if (options.history != 0)
        construct_history(
            pool, reinterpret_cast<std::byte*>(&pool) + mempool_bytes(as_mempool(options), 0, when),
            options.history);
    piece_cutter external{options.pieces, options.data_room};
    for (std::uint32_t i = 0, count = pool.count(); i != count; ++i)
        initialise_mbuf(pool, pool.handle(i), pool.pinned ? external.next() : nullptr);
}

}  // namespace cohort
