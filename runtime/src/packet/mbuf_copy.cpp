#include "cohort/packet/mbuf_copy.hpp"

#include "cohort/base/copy_bytes.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/mbuf_external.hpp"

#include <algorithm>
#include <cstring>

namespace cohort {
namespace {

/// Where bytes [offset, ...) of a packet begin.
struct position {
    const mbuf* segment;
    std::size_t offset;
};

position find(const mbuf& packet, std::size_t offset) noexcept
{
    const mbuf* segment = &packet;
    for (; segment && offset >= segment->data_len; segment = segment->next)
        offset -= segment->data_len;
    return {segment, offset};
}

/// Fills the tailroom of `to`; returns how many bytes that was.
std::size_t fill(mbuf& to, position& from, std::size_t length) noexcept
{
    std::size_t done = 0;
    while (from.segment && done != length && to.tailroom() != 0) {
        const auto piece = from.segment->bytes().subspan(from.offset);
        const auto count = std::min({piece.size(), length - done, std::size_t{to.tailroom()}});
        copy_bytes(to.buf_addr + to.data_off + to.data_len, piece.data(), count);
        to.data_len = static_cast<std::uint16_t>(to.data_len + count);
        done += count;
        from.offset += count;
        for (; from.segment && from.offset == from.segment->data_len; from.offset = 0)
            from.segment = from.segment->next;
    }
    return done;
}

}  // namespace

mbuf* copy(const mbuf& packet, mempool& pool, std::size_t offset, std::size_t length) noexcept
{
    // As rte_pktmbuf_copy: an offset at the end has nothing to copy.
    if (offset >= packet.pkt_len)
        return nullptr;
    length = std::min<std::size_t>(length, packet.pkt_len - offset);
    pktmbuf_pool source{pool.layout()};
    mbuf* head = source.alloc();
    if (!head)
        return nullptr;
    detail::copy_header(*head, packet);
    auto from = find(packet, offset);
    auto left = length - fill(*head, from, length);
    head->pkt_len = head->data_len;
    while (left != 0) {
        mbuf* segment = source.alloc();
        if (segment) {
            segment->data_off = 0;  // only the head needs headroom
            left -= fill(*segment, from, left);
            segment->pkt_len = segment->data_len;
        }
        if (!segment || segment->data_len == 0 || !chain(*head, *segment)) {
            free(segment);
            free(head);
            return nullptr;
        }
    }
    return head;
}

bool linearize(mbuf& packet) noexcept
{
    if (packet.is_contiguous())
        return true;
    const auto rest = packet.pkt_len - packet.data_len;
    const auto room = packet.buf_len - packet.data_off - packet.data_len;
    if (rest > static_cast<std::uint32_t>(room) || is_shared(packet))
        return false;
    mbuf* tail = packet.next;
    auto length = packet.data_len;
    for (const mbuf* segment = tail; segment; segment = segment->next) {
        const auto bytes = segment->bytes();
        copy_bytes(packet.buf_addr + packet.data_off + length, bytes.data(), bytes.size());
        length = static_cast<std::uint16_t>(length + bytes.size());
    }
    // One store tells a reaper that may redeliver the packet where its data is: behind a head that
    // counts them, a segment that is no follower holds nothing that the head has not.
    detail::set_custody(*tail, membership_of(&packet).holder());
    COHORT_FAULT_POINT("mbuf.gathered");
    packet.data_len = length;
    packet.nb_segs = 1;
    packet.next = nullptr;
    free(tail);
    return true;
}

const std::byte* read(const mbuf& packet, std::size_t offset, std::size_t length,
                      std::span<std::byte> scratch) noexcept
{
    if (offset > packet.pkt_len || length > packet.pkt_len - offset)
        return nullptr;
    const auto at = find(packet, offset);
    if (!at.segment)
        return length == 0 ? scratch.data() : nullptr;
    if (length <= at.segment->data_len - at.offset)
        return at.segment->bytes().data() + at.offset;
    if (scratch.size() < length || !read(packet, offset, scratch.first(length)))
        return nullptr;
    return scratch.data();
}

}  // namespace cohort
