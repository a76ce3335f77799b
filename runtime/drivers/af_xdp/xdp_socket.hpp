#pragma once
/// AF_XDP sockets over the memory of a pool, and their four rings as each member maps them.
///
///   fill         buffers for the kernel to receive into      we produce
///   rx           frames that it has received                 we consume
///   tx           frames for it to send                       we produce
///   completion   buffers of frames that it has sent          we consume
///
/// The rings are the kernel's memory. Nothing in the region points into them, for positions say
/// which slot is meant; so each member maps them wherever it has room.
///
/// Of the two indices of a ring one is the kernel's. SLOTS: an index is released after the slots
/// are written or read, and acquired before they are read or written, by both sides.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/packet/mbuf.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <linux/if_xdp.h>

namespace cohort::detail {

/// The memory of a pool as the kernel is told of it (the UMEM): whole, with chunks that begin
/// anywhere, namely where the buffers of the mbufs do. A frame lies `frame_offset` bytes into
/// its chunk.
struct umem_shape {
    static constexpr std::uint32_t frame_offset = 256;  // the kernel's XDP_PACKET_HEADROOM
    static constexpr std::uint32_t chunk_least = 2048;
    static constexpr std::uint32_t chunk_most = 4096;

    std::uintptr_t base = 0;  ///< page-aligned
    std::size_t bytes = 0;
    std::uint32_t chunk_bytes = 0;

    /// Throws `invalid_argument` for a pool that is not fit, with frames of `longest` bytes.
    [[nodiscard]] static umem_shape of(const mempool_layout& pool, std::size_t longest);

    /// What the kernel calls an address in the pool.
    [[nodiscard]] std::uint64_t to_kernel(const void* at) const noexcept
    {
        return reinterpret_cast<std::uintptr_t>(at) - base;
    }
    /// The address that the kernel means: in the upper bits it notes how far it went into a chunk.
    [[nodiscard]] std::uintptr_t from_kernel(std::uint64_t at) const noexcept
    {
        return base + (at & XSK_UNALIGNED_BUF_ADDR_MASK) + (at >> XSK_UNALIGNED_BUF_OFFSET_SHIFT);
    }
};

struct xdp_socket_request {
    int interface_index = 0;
    std::string interface_name{};
    std::uint32_t queues = 1;
    std::uint32_t slots = 0;  ///< of each ring; a power of two
};

/// One bound socket for each queue, over the same memory. Throws `no_permission`, `in_use` when
/// another socket has a queue, `no_memory` when too little may be locked, or what the kernel says.
[[nodiscard]] std::vector<file_descriptor> make_xdp_sockets(const xdp_socket_request& wanted,
                                                            const umem_shape& umem);

/// One ring of a socket in this process.
template <typename Slot>
class xdp_ring {
public:
    xdp_ring(int socket, std::uint64_t which, const xdp_ring_offset& places, std::uint32_t slots);
    ~xdp_ring();
    xdp_ring(const xdp_ring&) = delete;
    xdp_ring& operator=(const xdp_ring&) = delete;

    [[nodiscard]] std::uint32_t produced() const noexcept
    {
        return word(places_.producer).load(std::memory_order_acquire);  // SLOTS
    }
    [[nodiscard]] std::uint32_t consumed() const noexcept
    {
        return word(places_.consumer).load(std::memory_order_acquire);  // SLOTS
    }
    void produce_until(std::uint64_t position) const noexcept
    {
        word(places_.producer)
            .store(static_cast<std::uint32_t>(position), std::memory_order_release);  // SLOTS
    }
    void consume_until(std::uint64_t position) const noexcept
    {
        word(places_.consumer)
            .store(static_cast<std::uint32_t>(position), std::memory_order_release);  // SLOTS
    }
    [[nodiscard]] bool needs_wakeup() const noexcept
    {
        return (word(places_.flags).load(std::memory_order_relaxed) & XDP_RING_NEED_WAKEUP) !=
               0;  // set by the kernel before it sleeps; a call too many harms nothing
    }
    [[nodiscard]] Slot& slot(std::uint64_t position) const noexcept
    {
        return reinterpret_cast<Slot*>(base_ + places_.desc)[position & (slots_ - 1)];
    }
    [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }

private:
    [[nodiscard]] std::atomic_ref<std::uint32_t> word(std::uint64_t place) const noexcept
    {
        return std::atomic_ref{*reinterpret_cast<std::uint32_t*>(base_ + place)};
    }
    [[nodiscard]] std::size_t bytes() const noexcept
    {
        return places_.desc + std::size_t{slots_} * sizeof(Slot);
    }

    xdp_ring_offset places_;
    std::uint32_t slots_;
    std::byte* base_;
};

[[nodiscard]] xdp_mmap_offsets ring_places(int socket);

/// Throws `not_found` when the interface is gone: a socket without one cannot be mapped. (Nor can a
/// bound one before Linux 6.4, but there no port gets so far that it has several openers.)
struct xdp_rings {
    xdp_rings(int socket, std::uint32_t slots) : xdp_rings{socket, slots, ring_places(socket)} {}

    xdp_ring<xdp_desc> rx;
    xdp_ring<std::uint64_t> fill;
    xdp_ring<xdp_desc> tx;
    xdp_ring<std::uint64_t> completion;

private:
    xdp_rings(int socket, std::uint32_t slots, const xdp_mmap_offsets& places)
        : rx{socket, XDP_PGOFF_RX_RING, places.rx, slots}
        , fill{socket, XDP_UMEM_PGOFF_FILL_RING, places.fr, slots}
        , tx{socket, XDP_PGOFF_TX_RING, places.tx, slots}
        , completion{socket, XDP_UMEM_PGOFF_COMPLETION_RING, places.cr, slots}
    {
    }
};

}  // namespace cohort::detail
