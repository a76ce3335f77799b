#include "cohort/packet/mbuf_clone.hpp"

#include "cohort/base/fault_point.hpp"
#include "cohort/packet/mbuf_external.hpp"
#include "put_batch.hpp"

namespace cohort {
namespace {

/// Of a buffer that is the caller's alone: forgets who counted last, and tells others first.
void make_pristine(membership& self, mbuf& buffer) noexcept
{
    const reference_word word{buffer.share_word()};
    const auto lane = self.lane();
    if (word.bits == reference_word::pristine || lane == 0)
        return;
    self.members().references(lane).note(word, lane);  // SEEN
    std::atomic_ref{buffer.share}.store(reference_word::pristine, std::memory_order_release);
}

/// Without links and further handles.
void make_single(mbuf& buffer) noexcept
{
    buffer.next = nullptr;
    buffer.nb_segs = 1;
    buffer.refcnt = 1;
}

/// Nor clones.
void make_single(membership& self, mbuf& buffer) noexcept
{
    make_single(buffer);
    make_pristine(self, buffer);
}

/// Whether this was the last of several handles.
bool is_last_handle(mbuf& segment) noexcept
{
    const std::atomic_ref handles{segment.refcnt};
    return handles.load(std::memory_order_acquire) == 1 ||
           handles.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

}  // namespace

bool detail::drop_reference(membership& self, std::uint64_t& count, std::uint64_t& share,
                            std::uint64_t becomes) noexcept
{
    const auto lane = self.lane();
    const std::atomic_ref word{count};
    reference_word seen{word.load(std::memory_order_acquire)};
    if (seen.is_exclusive())
        return false;
    auto& record = self.members().references(lane);
    const auto sequence = record.begin(count, share, becomes);
    do {
        if (seen.is_exclusive()) {
            record.end(sequence);
            return false;
        }
        record.note(seen, lane);  // SEEN
    } while (!word.compare_exchange_weak(
        seen.bits, seen.changed(-reference_word::one_clone, lane, sequence).bits,
        std::memory_order_acq_rel, std::memory_order_acquire));  // LET_GO
    COHORT_FAULT_POINT("mbuf.uncounted");
    std::atomic_ref{share}.store(becomes, std::memory_order_release);
    record.end(sequence);
    return true;
}

mbuf* detail::detach_clone(membership& self, mbuf& clone, std::uint64_t holder) noexcept
{
    auto& direct = clone.direct();
    mbuf* taken = nullptr;
    if (!drop_reference(self, direct.share, clone.share, reference_word::pristine)) {
        // Alone with it: nobody else has a handle or a clone.
        set_custody(direct, holder);
        COHORT_FAULT_POINT("mbuf.taken");
        std::atomic_ref{direct.share}.store(direct.share_word() | reference_word::handle,
                                            std::memory_order_release);
        taken = &direct;
        if (!drop_reference(self, direct.share, clone.share, reference_word::pristine))
            taken = nullptr;  // a broken invariant: it has two references
    }
    restore_buffer(clone);
    note(*clone.pool, clone, mbuf_event::detach);
    if (taken)
        make_single(self, *taken);
    return taken;
}

detail::handle_state detail::let_go(membership& self, mbuf& buffer, std::uint64_t holder) noexcept
{
    const std::atomic_ref word{buffer.share};
    reference_word seen{word.load(std::memory_order_acquire)};
    if (seen.clones() != 0) {
        make_single(buffer);
        note(*buffer.pool, buffer, mbuf_event::let_go);
        set_custody(buffer, custody::letting_go | holder);  // I6
        COHORT_FAULT_POINT("mbuf.letting_go");
    }
    while (seen.clones() != 0)
        if (word.compare_exchange_weak(seen.bits, seen.bits & ~reference_word::handle,
                                       std::memory_order_acq_rel, std::memory_order_acquire)) {
            COHORT_FAULT_POINT("mbuf.let_go");
            return handle_state::gone;  // LET_GO
        }
    make_single(self, buffer);
    return handle_state::alone;
}

void detail::restore_buffer(mbuf& buffer) noexcept
{
    const auto& pool = *buffer.pool;
    buffer.data_len = 0;
    buffer.ol_flags = pool.pinned ? mbuf_flag::external : 0;
    buffer.buf_len = pool.data_room;
    buffer.reset_headroom();
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (!pool.pinned)  // last: until then a reaper sees that this is not done
        buffer.buf_addr = reinterpret_cast<std::byte*>(&buffer + 1) + pool.private_bytes;
}

void detach(mbuf& buffer) noexcept
{
    auto& self = membership_of(&buffer);
    if (buffer.is_direct() || self.lane() == 0)
        return;
    if (!buffer.is_clone())
        detail::detach_external(self, buffer, self.holder());
    else if (mbuf* direct = detail::detach_clone(self, buffer, self.holder()))
        raw_free(direct);
}

mbuf* prefree_seg(mbuf* segment) noexcept
{
    if (!is_last_handle(*segment))
        return nullptr;
    if (segment->share_word() == reference_word::pristine) {  // shared with nobody
        make_single(*segment);
        return segment;
    }
    auto& self = membership_of(segment);
    if (segment->is_direct())
        return detail::let_go(self, *segment, self.holder()) == detail::handle_state::alone
                   ? segment
                   : nullptr;
    detach(*segment);
    if (!segment->is_direct())
        return nullptr;  // no lane, or it waits for whoever has the free function
    make_single(self, *segment);
    return segment;
}

void detail::free_slowly(mbuf* head) noexcept
{
    // A chain comes apart in steps: the head stops being a received packet, every segment is tagged
    // by itself, only then links are cut, and what is cut off goes to its pool.
    const bool tagged = head->handles() == 1;
    if (tagged) {
        const auto mine = membership_of(head).holder();
        for (mbuf* segment = head; segment; segment = segment->next)
            set_custody(*segment, mine);
    }
    put_batch batch;
    while (head) {
        mbuf* next = head->next;
        mbuf* own = prefree_seg(head);
        if (own && tagged)
            batch.add(*own);
        else if (own)
            raw_free(own);  // at once: its word may still be that of a follower
        head = next;
    }
}

mbuf* clone(mbuf& packet, mempool& pool) noexcept
{
    mbuf* head = nullptr;
    mbuf* last = nullptr;
    for (mbuf* shown = &packet; shown; shown = shown->next) {
        auto* segment = pktmbuf_pool{pool.layout()}.raw_alloc();
        if (!segment || !attach(*segment, *shown)) [[unlikely]] {
            free(segment);
            free(head);
            return nullptr;
        }
        if (!head) {
            head = last = segment;
            continue;
        }
        last->next = segment;
        detail::set_custody(*segment, custody::follower | membership_of(head).holder());  // I5
        last = segment;
    }
    head->nb_segs = packet.nb_segs;
    head->pkt_len = packet.pkt_len;
    return head;
}

}  // namespace cohort
