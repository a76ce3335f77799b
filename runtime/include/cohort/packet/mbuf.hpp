#pragma once
/// A packet buffer: exactly two cache lines of metadata, then private area, headroom and data.
///
///   offset field                          offset field
///   0      buf_addr                       64     next
///   8      custody (rte_mbuf: buf_iova)   72     tx_offload
///   16     data_off refcnt nb_segs port   80     share (rte_mbuf: shinfo)
///   24     ol_flags                       88     priv_size, timesync
///   32     packet_type                    92     wire_len
///   36     pkt_len                        96     timestamp
///   40     data_len vlan_tci              104    redo
///   44     hash                           112    dynfield[4]
///   52     vlan_tci_outer buf_len
///   56     pool
///
///   | mbuf 128 | private area | headroom 128 | data ... | tailroom |
///                            ^ buf_addr     ^ buf_addr + data_off
///
/// Field names and meaning are those of rte_mbuf. A packet longer than one buffer is a chain: the
/// head carries pkt_len and nb_segs, `next` leads on.
///
/// `share` says in one word whose data this buffer shows:
///   odd         its own: a count of the clones that are attached to it (reference_layout.hpp)
///   D | 2       that of the direct buffer D: this is a clone (mbuf_clone.hpp)
///   shinfo      an external buffer, counted there (mbuf_external.hpp)
///   4           it had an external buffer, whose free function is being called
///
/// *Thread safety*: a buffer belongs to one holder at a time; custody names the member.
/// *When a process dies here*: the reaper frees or redelivers what the dead member held, chains as
/// a whole. Every chain operation keeps each segment reachable from its head or tagged by itself.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/member/reference_layout.hpp"
#include "cohort/packet/mbuf_flags.hpp"
#include "cohort/packet/mbuf_history.hpp"
#include "cohort/pool/mempool.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace cohort {

inline constexpr std::uint16_t mbuf_headroom = 128;
inline constexpr std::uint16_t mbuf_default_data_room = 2048;
inline constexpr std::uint16_t mbuf_invalid_port = 0xffff;

struct alignas(cache_line_bytes) mbuf {
    std::byte* buf_addr;        ///< start of the buffer, before the headroom
    std::uint64_t custody;      ///< see member/custody.hpp
    std::uint16_t data_off;     ///< bytes from buf_addr to the data
    std::uint16_t refcnt;       ///< handles; without the clones, which `share` counts
    std::uint16_t nb_segs;      ///< of the whole chain; only valid in the head
    std::uint16_t port;         ///< received on
    std::uint64_t ol_flags;     ///< see mbuf_flags.hpp
    std::uint32_t packet_type;  ///< see packet_type.hpp
    std::uint32_t pkt_len;      ///< bytes of the whole chain; only valid in the head
    std::uint16_t data_len;     ///< bytes in this segment
    std::uint16_t vlan_tci;
    struct {
        std::uint32_t rss;
        std::uint32_t tag;
    } hash;
    std::uint16_t vlan_tci_outer;
    std::uint16_t buf_len;  ///< bytes from buf_addr to the end of the buffer
    mempool_layout* pool;

    mbuf* next;                ///< next segment, nullptr in the last
    std::uint64_t tx_offload;  ///< see mbuf_flags.hpp
    std::uint64_t share;       ///< above
    std::uint16_t priv_size;
    std::uint16_t timesync;
    std::uint32_t wire_len;   ///< length on the wire when capture cut the packet, 0 = pkt_len
    std::uint64_t timestamp;  ///< nanoseconds, as the port gives them
    std::uint64_t redo;       ///< what a stage is about to do, written before it does; 0 = nothing
    std::uint32_t dynfield[4];

    /// The data of this segment.
    [[nodiscard]] std::span<std::byte> bytes() noexcept { return {buf_addr + data_off, data_len}; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
    {
        return {buf_addr + data_off, data_len};
    }
    /// The data at `offset`, as rte_pktmbuf_mtod_offset. T must fit inside this segment.
    template <typename T>
    [[nodiscard]] T* data(std::size_t offset = 0) noexcept
    {
        return reinterpret_cast<T*>(buf_addr + data_off + offset);
    }

    [[nodiscard]] std::uint16_t headroom() const noexcept { return data_off; }
    [[nodiscard]] std::uint16_t tailroom() const noexcept
    {
        return static_cast<std::uint16_t>(buf_len - data_off - data_len);
    }
    [[nodiscard]] bool is_contiguous() const noexcept { return nb_segs == 1; }
    [[nodiscard]] std::span<std::byte> private_area() noexcept
    {
        return {reinterpret_cast<std::byte*>(this + 1), priv_size};
    }

    [[nodiscard]] std::uint64_t share_word() const noexcept
    {
        return std::atomic_ref{const_cast<std::uint64_t&>(share)}.load(
            std::memory_order_acquire);  // LET_GO
    }
    /// It shows its own data. That of a pinned external buffer counts as its own.
    [[nodiscard]] bool is_direct() const noexcept { return (share_word() & 1) != 0; }
    /// It shows the data of another buffer.
    [[nodiscard]] bool is_clone() const noexcept { return (share_word() & 3) == 2; }
    [[nodiscard]] bool has_external() const noexcept
    {
        return (share_word() & 3) == 0 || (ol_flags & mbuf_flag::external) != 0;
    }
    /// The buffer whose data this one shows: itself, or what it is a clone of.
    [[nodiscard]] mbuf& direct() noexcept
    {
        const auto word = share_word();
        return (word & 3) == 2 ? *reinterpret_cast<mbuf*>(word & ~std::uint64_t{3}) : *this;
    }
    /// One segment, shared with nobody: freeing it is putting it back.
    [[nodiscard]] bool is_plain() const noexcept
    {
        return !next && handles() == 1 && share_word() == reference_word::pristine;
    }
    /// Handles of its holder's threads; see `refcnt_update`.
    [[nodiscard]] std::uint16_t handles() const noexcept
    {
        return std::atomic_ref{const_cast<std::uint16_t&>(refcnt)}.load(std::memory_order_acquire);
    }

    [[nodiscard]] mbuf& last() noexcept
    {
        mbuf* segment = this;
        while (segment->next)
            segment = segment->next;
        return *segment;
    }

    /// Adds `length` bytes at the end of the last segment and returns them; empty when the tailroom
    /// is too small.
    [[nodiscard]] std::span<std::byte> append(std::uint16_t length) noexcept
    {
        auto& tail = last();
        if (length > tail.tailroom())
            return {};
        std::byte* at = tail.buf_addr + tail.data_off + tail.data_len;
        tail.data_len = static_cast<std::uint16_t>(tail.data_len + length);
        pkt_len += length;
        return {at, length};
    }
    /// Adds `length` bytes in front and returns them; empty when the headroom is too small.
    [[nodiscard]] std::span<std::byte> prepend(std::uint16_t length) noexcept
    {
        if (length > headroom())
            return {};
        data_off = static_cast<std::uint16_t>(data_off - length);
        data_len = static_cast<std::uint16_t>(data_len + length);
        pkt_len += length;
        return {buf_addr + data_off, length};
    }
    /// Removes bytes in front; false when the first segment has fewer.
    [[nodiscard]] bool adj(std::uint16_t length) noexcept
    {
        if (length > data_len)
            return false;
        data_off = static_cast<std::uint16_t>(data_off + length);
        data_len = static_cast<std::uint16_t>(data_len - length);
        pkt_len -= length;
        return true;
    }
    /// Removes bytes at the end; false when the last segment has fewer.
    [[nodiscard]] bool trim(std::uint16_t length) noexcept
    {
        auto& tail = last();
        if (length > tail.data_len)
            return false;
        tail.data_len = static_cast<std::uint16_t>(tail.data_len - length);
        pkt_len -= length;
        return true;
    }

    void reset_headroom() noexcept { data_off = buf_len < mbuf_headroom ? buf_len : mbuf_headroom; }

    /// Back to an empty packet of one segment; keeps buffer, pool, refcnt and what it shares.
    void reset() noexcept
    {
        next = nullptr;
        nb_segs = 1;
        port = mbuf_invalid_port;
        reset_headroom();
        data_len = 0;
        pkt_len = 0;
        ol_flags &= mbuf_flag::external;
        packet_type = 0;
        vlan_tci = 0;
        vlan_tci_outer = 0;
        tx_offload = 0;
        wire_len = 0;
        redo = 0;
    }
};
static_assert(shared_layout<mbuf> && sizeof(mbuf) == 2 * cache_line_bytes);
static_assert(offsetof(mbuf, custody) == 8 && offsetof(mbuf, pool) == 56 &&
              offsetof(mbuf, next) == 64);
static_assert(offsetof(mbuf, share) == 80 && offsetof(mbuf, redo) == 104);
static_assert(std::is_trivially_copyable_v<mbuf>);

inline constexpr std::int32_t mbuf_custody_offset = offsetof(mbuf, custody);

namespace detail {

/// The reaper sees the stores of a dead process in program order: this keeps the compiler to it.
inline void set_custody(mbuf& segment, std::uint64_t word) noexcept
{
    std::atomic_signal_fence(std::memory_order_seq_cst);
    custody::write(&segment, mbuf_custody_offset, word);
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

void free_slowly(mbuf* head) noexcept;

}  // namespace detail

/// Links the chain `tail` behind `head`. False, and nothing done, when the sum of segments or bytes
/// does not fit. Killed in between, each segment is tagged by itself, linked, or both (I5).
[[nodiscard]] inline bool chain(mbuf& head, mbuf& tail) noexcept
{
    const auto segments = std::uint32_t{head.nb_segs} + tail.nb_segs;
    const auto length = std::uint64_t{head.pkt_len} + tail.pkt_len;
    if (segments > std::numeric_limits<std::uint16_t>::max() ||
        length > std::numeric_limits<std::uint32_t>::max()) [[unlikely]]
        return false;
    head.last().next = &tail;
    detail::set_custody(tail, custody::follower |
                                  membership_of(&head).holder());  // I5: link first, then tag
    head.nb_segs = static_cast<std::uint16_t>(segments);
    head.pkt_len = static_cast<std::uint32_t>(length);
    return true;
}

/// Frees a chain, as rte_pktmbuf_free: segments that others refer to stay until these let go; what
/// a clone showed goes with its last reference. nullptr is allowed.
inline void free(mbuf* head) noexcept
{
    if (!head)
        return;
    if (head->is_plain()) [[likely]] {
        note(*head->pool, *head, mbuf_event::free);
        mempool{*head->pool}.put(head);
    } else {
        detail::free_slowly(head);
    }
}
/// The same for many; what is plain goes back in one batch per pool and run.
void free_bulk(std::span<mbuf* const> packets) noexcept;

/// Bytes [offset, offset + out.size()) of the chain, gathered. False when the packet is shorter.
[[nodiscard]] bool read(const mbuf& packet, std::size_t offset, std::span<std::byte> out) noexcept;
/// The same range scattered from `in`.
[[nodiscard]] bool write(mbuf& packet, std::size_t offset, std::span<const std::byte> in) noexcept;

/// nullptr when the packet is sound, else what is wrong (as rte_mbuf_check).
[[nodiscard]] const char* find_fault(const mbuf& packet, bool is_head) noexcept;

/// A pool whose elements are mbufs.
class pktmbuf_pool {
public:
    explicit pktmbuf_pool(mempool_layout& layout) noexcept : pool_{layout} {}

    /// An empty packet of one segment, or nullptr.
    [[nodiscard]] mbuf* alloc() noexcept
    {
        auto* packet = raw_alloc();
        if (packet)
            packet->reset();
        return packet;
    }
    /// Fills `packets`, or returns false and touches nothing.
    [[nodiscard]] bool alloc_bulk(std::span<mbuf*> packets) noexcept
    {
        if (!pool_.get_bulk({reinterpret_cast<void**>(packets.data()), packets.size()}))
            return false;
        for (auto* packet : packets) {
            packet->reset();
            note(pool_.layout(), *packet, mbuf_event::alloc);
        }
        return true;
    }
    /// A buffer as its last user left it: one segment, one reference, all else stale; or nullptr.
    [[nodiscard]] mbuf* raw_alloc() noexcept
    {
        auto* packet = static_cast<mbuf*>(pool_.get());
        if (packet)
            note(pool_.layout(), *packet, mbuf_event::alloc);
        return packet;
    }
    /// A packet of `length` uninitialised bytes, a chain when one buffer is too small; or nullptr.
    [[nodiscard]] mbuf* alloc_chain(std::size_t length) noexcept;

    [[nodiscard]] mempool& objects() noexcept { return pool_; }
    [[nodiscard]] const mempool& objects() const noexcept { return pool_; }
    [[nodiscard]] std::uint16_t data_room() const noexcept { return pool_.layout().data_room; }

private:
    mempool pool_;
};

/// How a pool of mbufs is made.
struct pktmbuf_options {
    std::uint32_t count = 8192;
    std::uint32_t cache_size = 256;
    std::uint16_t private_bytes = 0;                                   ///< a multiple of 8
    std::uint16_t data_room = mbuf_headroom + mbuf_default_data_room;  ///< headroom included
    recovery_policy policy = recovery_policy::release;
    std::string_view redeliver_to{};
    int numa_node = any_numa_node;
    bool spread = true;                    ///< see mempool_options
    std::uint32_t private_area_bytes = 0;  ///< of the pool, not of each mbuf
    std::string_view backing = "ring";     ///< or "stack": see pool_store.hpp
    object_constructor construct{};        ///< called with each mbuf when it is complete
    std::uint32_t history = 0;  ///< events kept of each buffer: 0, or a power of two up to 64
    /// Pinned external memory: each piece is cut into buffers of `data_room`, which stay with their
    /// mbufs (rte_pktmbuf_pool_create_extbuf). Inside the window, and there as long as the pool.
    std::span<const std::span<std::byte>> pieces{};
};

/// Bytes of the pool's span: objects, and the table of its history.
[[nodiscard]] std::size_t pktmbuf_pool_bytes(const pktmbuf_options& options, pool_filling when);
/// The object pool underneath; throws `errc::invalid_argument` for sizes that cannot be.
[[nodiscard]] mempool_options as_mempool(const pktmbuf_options& options);
/// Makes a pool of mbufs of it, and every mbuf that it has, before it is filled. `pool` lies at the
/// start of its span.
void initialise_mbufs(mempool_layout& pool, const pktmbuf_options& options,
                      pool_filling when) noexcept;
/// Makes an mbuf there, which shows `pinned`, or else its own buffer.
mbuf& initialise_mbuf(mempool_layout& pool, void* at, std::byte* pinned = nullptr) noexcept;

}  // namespace cohort
