#pragma once
/// Clones: buffers that show the data of others. Semantics of rte_pktmbuf_attach, _detach, _clone.
///
/// A clone is an mbuf of any pool of the domain with its own header, whose buf_addr, data_off and
/// data_len show the data of a *direct* buffer. Clones of a clone show the same direct buffer. Data
/// that is shown more than once must not be written.
///
/// Who may move a direct buffer D with clones (W = its count word, `mbuf::share`):
///
///   W = {handle, 0}    D is its holder's alone, as any buffer
///   W = {handle, n}    D is its holder's: it travels, is redelivered, and is freed by letting the
///                      handle go. Each clone is *its* holder's. Holders need not know of each
///                      other
///   W = {-, n}         D is in nobody's hands and in no ring; n clones keep it. Its custody word
///                      says LETTING_GO and is history
///   W = {-, 1}         so is D, and the holder of that clone, alone with it, may take it:
///                      custody word, then handle, then the clone is detached, then D is freed
///
///   attach   fields; {handle, n} -> {handle, n+1}; share = D     the intent is recorded before,
///   detach   {handle, n} -> {handle, n-1}; share = own           see member/reference_layout.hpp
///   let go   custody = LETTING_GO; {handle, n} -> {-, n}         one store each, and done again at
///   take     custody = own; {-, 1} -> {handle, 1}                will: no intent is needed
///
/// *Thread safety*: any thread with a lane; holders of D and of its clones may act at the same
/// time. As in DPDK, each has a reference of its own: a handle (`refcnt_update` adds some for
/// threads of one member) or a clone. Two threads must not use one and the same. *When a process
/// dies here*: an attach or detach under way is finished or forgotten from its record, by one look
/// at W. Then each clone of the dead is detached and each handle is let go, as the dead would have
/// done; what is left without a reference goes to its pool. Live holders go on meanwhile: they and
/// the reaper change W by the same steps. *When not to use*: to send one packet to many that write
/// to it; see `copy`.
///
/// Cost: a clone or the free of one has as many locked instructions as in DPDK: none while one
/// holder has everything, one otherwise.

#include "cohort/base/fault_point.hpp"
#include "cohort/packet/mbuf.hpp"

#include <cstring>
#include <limits>

namespace cohort {

namespace detail {

/// Adds a reference to `count`, and `share` becomes what says so. `sole`: no other thread uses the
/// reference by which the caller knows of it. False, and nothing done, without a lane or when the
/// count is full.
[[nodiscard]] inline bool add_reference(membership& self, std::uint64_t& count,
                                        std::uint64_t& share, std::uint64_t becomes,
                                        bool sole) noexcept
{
    const auto lane = self.lane();
    const std::atomic_ref word{count};
    reference_word seen{word.load(std::memory_order_acquire)};
    // So many below the limit that all lanes at once cannot pass it.
    if (lane == 0 || seen.clones() >= reference_word::most_clones - max_lanes) [[unlikely]]
        return false;
    auto& record = self.members().references(lane);
    const auto sequence = record.begin(count, share, becomes);
    record.note(seen, lane);  // SEEN
    if (sole && seen.is_exclusive())
        word.store(seen.changed(reference_word::one_clone, lane, sequence).bits,
                   std::memory_order_release);
    else
        while (!word.compare_exchange_weak(
            seen.bits, seen.changed(reference_word::one_clone, lane, sequence).bits,
            std::memory_order_acq_rel, std::memory_order_acquire))
            record.note(seen, lane);  // SEEN
    COHORT_FAULT_POINT("mbuf.counted");
    std::atomic_ref{share}.store(becomes, std::memory_order_release);
    record.end(sequence);
    return true;
}

/// Takes a reference away, and `share` becomes what says so. False, and nothing done, when it is
/// the only one left: then the caller is alone with what is counted.
[[nodiscard]] bool drop_reference(membership& self, std::uint64_t& count, std::uint64_t& share,
                                  std::uint64_t becomes) noexcept;

/// Detaches a clone from its direct buffer for `holder`: of the calling member, or of a dead one
/// whose reaper calls. Returns the direct buffer when it has come to `holder`, to be freed.
[[nodiscard]] mbuf* detach_clone(membership& self, mbuf& clone, std::uint64_t holder) noexcept;

/// What `let_go` has found.
enum class handle_state {
    alone,  ///< nobody else refers to the buffer: it is the caller's to free
    gone,   ///< clones keep it, or have taken it: the caller has it no more
};
/// Lets go of the handle of a direct buffer that `holder` has.
[[nodiscard]] handle_state let_go(membership& self, mbuf& buffer, std::uint64_t holder) noexcept;

/// Its own buffer again, and empty. `share` is left to the caller.
void restore_buffer(mbuf& buffer) noexcept;

/// The fields of `from` that all segments of a copy have; those of the data are the caller's.
inline void copy_header(mbuf& to, const mbuf& from) noexcept
{
    to.port = from.port;
    to.ol_flags = from.ol_flags & ~(mbuf_flag::external | mbuf_flag::indirect);
    to.packet_type = from.packet_type;
    to.vlan_tci = from.vlan_tci;
    to.vlan_tci_outer = from.vlan_tci_outer;
    to.hash = from.hash;
    to.tx_offload = from.tx_offload;
    to.wire_len = from.wire_len;
    to.timestamp = from.timestamp;
    to.redo = from.redo;
    std::memcpy(to.dynfield, from.dynfield, sizeof to.dynfield);
}

}  // namespace detail

/// References to the data of this buffer: handles and clones. Of a clone: handles to it; of one
/// with an external buffer: see `external_info`.
[[nodiscard]] inline std::uint32_t refcnt(const mbuf& buffer) noexcept
{
    const reference_word word{buffer.share_word()};
    if (!buffer.is_direct())
        return buffer.handles();
    return (word.has_handle() ? buffer.handles() : 0U) + word.clones();
}
/// Sets the number of handles. Nobody else may have one.
inline void refcnt_set(mbuf& buffer, std::uint16_t handles) noexcept
{
    buffer.refcnt = handles;
}
/// Adds handles, with an atomic only where there is more than one; returns `refcnt` after it. More
/// handles are for threads of one member: custody knows one holder, with whom all of them end. The
/// last is given up by `free`, not here.
inline std::uint32_t refcnt_update(mbuf& buffer, std::int16_t by) noexcept
{
    const std::atomic_ref handles{buffer.refcnt};
    if (handles.load(std::memory_order_acquire) == 1)
        buffer.refcnt = static_cast<std::uint16_t>(1 + by);
    else
        handles.fetch_add(static_cast<std::uint16_t>(by), std::memory_order_acq_rel);
    return refcnt(buffer);
}

/// Makes `clone`, a direct buffer that is the caller's alone and not pinned, show the data of the
/// one segment `shown`. False, and nothing done, when it is none such, without a lane, or at 65407
/// clones.
[[nodiscard]] inline bool attach(mbuf& clone, mbuf& shown) noexcept
{
    if (clone.share_word() != reference_word::pristine || clone.refcnt != 1 || clone.pool->pinned)
        [[unlikely]]
        return false;
    // First what tells a reaper that the buffer was caught in here.
    clone.buf_addr = shown.buf_addr;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    detail::copy_header(clone, shown);
    clone.data_off = shown.data_off;
    clone.data_len = shown.data_len;
    clone.buf_len = shown.buf_len;
    clone.next = nullptr;
    clone.pkt_len = shown.data_len;
    clone.nb_segs = 1;
    const auto share = shown.share_word();
    auto& self = membership_of(&clone);
    bool done = false;
    if ((share & 3) == 0) {  // an external buffer: counted there
        clone.ol_flags |= mbuf_flag::external;
        done = share > 4 && detail::add_reference(self, *reinterpret_cast<std::uint64_t*>(share),
                                                  clone.share, share, shown.handles() == 1);
    } else {
        auto& direct = shown.direct();
        clone.ol_flags |= mbuf_flag::indirect;
        // The handles of another's direct buffer are not read: its holder may write them meanwhile.
        done = detail::add_reference(self, direct.share, clone.share,
                                     reinterpret_cast<std::uint64_t>(&direct) | 2,
                                     &shown == &direct && shown.handles() == 1);
    }
    if (!done) [[unlikely]]
        detail::restore_buffer(clone);
    else
        note(*clone.pool, clone, mbuf_event::attach);
    return done;
}

/// Gives a clone, or a buffer with an external one, its own buffer back, empty. What it showed goes
/// with its last reference. Nothing happens to other buffers, or without a lane.
void detach(mbuf& buffer) noexcept;

/// Lets one segment go that its chain no longer needs, as rte_pktmbuf_prefree_seg: returns it,
/// detached and reset, when it is the caller's to give to `raw_free`; else nullptr.
[[nodiscard]] mbuf* prefree_seg(mbuf* segment) noexcept;
/// Puts a segment that `prefree_seg` returned into its pool.
inline void raw_free(mbuf* segment) noexcept
{
    note(*segment->pool, *segment, mbuf_event::free);
    mempool{*segment->pool}.put(segment);
}
/// Frees one segment of a chain, whatever follows it.
inline void free_seg(mbuf* segment) noexcept
{
    if (mbuf* own = segment ? prefree_seg(segment) : nullptr)
        raw_free(own);
}

/// The packet once more: a chain of clones from `pool`, which any member may free at any time.
/// nullptr when the pool is empty or pinned.
[[nodiscard]] mbuf* clone(mbuf& packet, mempool& pool) noexcept;

}  // namespace cohort
