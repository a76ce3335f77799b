#pragma once
/// A packet buffer: exactly two cache lines of metadata, then private area, headroom and data.
///
///   offset field                          offset field
///   0      buf_addr                       64     next
///   8      custody (rte_mbuf: buf_iova)   72     tx_offload
///   16     data_off refcnt nb_segs port   80     shinfo
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
/// *Thread safety*: a buffer belongs to one holder at a time; custody names the member.
/// *When a process dies here*: the reaper frees or redelivers what the dead member held, chains as
/// a whole. Every chain operation keeps each segment reachable from its head or tagged by itself.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/pool/mempool.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cohort {

inline constexpr std::uint16_t mbuf_headroom = 128;
inline constexpr std::uint16_t mbuf_default_data_room = 2048;
inline constexpr std::uint16_t mbuf_invalid_port = 0xffff;

struct alignas(cache_line_bytes) mbuf {
    std::byte* buf_addr;     ///< start of the buffer, before the headroom
    std::uint64_t custody;   ///< see member/custody.hpp
    std::uint16_t data_off;  ///< bytes from buf_addr to the data
    std::uint16_t refcnt;
    std::uint16_t nb_segs;      ///< of the whole chain; only valid in the head
    std::uint16_t port;         ///< received on
    std::uint64_t ol_flags;     ///< offload flags
    std::uint32_t packet_type;  ///< L2:4 | L3:4 | L4:4 | tunnel:4 | inner L2:4 | L3:4 | L4:4
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
    std::uint64_t tx_offload;  ///< l2_len:7 | l3_len:9 | l4_len:8 | tso_segsz:16 | outer ...
    void* shinfo;              ///< of an attached external buffer
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

    /// Back to an empty packet of one segment; keeps buffer, pool and refcnt.
    void reset() noexcept
    {
        next = nullptr;
        nb_segs = 1;
        port = mbuf_invalid_port;
        data_off = buf_len < mbuf_headroom ? buf_len : mbuf_headroom;
        data_len = 0;
        pkt_len = 0;
        ol_flags = 0;
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
static_assert(offsetof(mbuf, redo) == 104);

inline constexpr std::int32_t mbuf_custody_offset = offsetof(mbuf, custody);

/// Links the chain `tail` behind `head`. False, and nothing done, when the sum of segments or bytes
/// does not fit. Killed in between, each segment is tagged by itself, linked, or both (I5).
[[nodiscard]] bool chain(mbuf& head, mbuf& tail) noexcept;

/// Frees a chain whose segments nobody else references. nullptr is allowed.
void free(mbuf* head) noexcept;
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
        auto* packet = static_cast<mbuf*>(pool_.get());
        if (packet)
            packet->reset();
        return packet;
    }
    /// Fills `packets`, or returns false and touches nothing.
    [[nodiscard]] bool alloc_bulk(std::span<mbuf*> packets) noexcept
    {
        if (!pool_.get_bulk({reinterpret_cast<void**>(packets.data()), packets.size()}))
            return false;
        for (auto* packet : packets)
            packet->reset();
        return true;
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
};

/// The object pool underneath; throws `errc::invalid_argument` for sizes that cannot be.
[[nodiscard]] mempool_options as_mempool(const pktmbuf_options& options);
/// Writes the constant fields of every mbuf, before the pool is filled.
void initialise_mbufs(mempool_layout& pool, const pktmbuf_options& options) noexcept;

}  // namespace cohort
