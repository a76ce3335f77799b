#pragma once
/// What the queues of an af_xdp port have in common in one process: the memory that the kernel
/// works in, and the program that brings frames.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/packet/mbuf.hpp"
#include "cohort/port/port_layout.hpp"
#include "xdp_program.hpp"
#include "xdp_socket.hpp"

namespace cohort::detail {

/// Places in port_layout::driver_words.
namespace xdp_word {
inline constexpr std::size_t umem_base = 0;
inline constexpr std::size_t umem_bytes = 1;
inline constexpr std::size_t chunk_bytes = 2;
inline constexpr std::size_t slots = 3;
inline constexpr std::size_t mode = 4;
inline constexpr std::size_t interface_index = 5;
}  // namespace xdp_word

/// The custody word of what a queue has posted; see custody::at_device.
[[nodiscard]] constexpr std::uint64_t posted_word(std::uint16_t port, std::uint16_t queue) noexcept
{
    return custody::at_device(port, queue * 2u);
}
/// That of what a queue sends.
[[nodiscard]] constexpr std::uint64_t sending_word(std::uint16_t port, std::uint16_t queue) noexcept
{
    return custody::at_device(port, queue * 2u + 1);
}

class xdp_device {
public:
    /// `pool` is there as long as the port is.
    xdp_device(port_layout& port, mempool_layout& pool, file_descriptor map,
               file_descriptor program, file_descriptor link);

    [[nodiscard]] mempool_layout& pool() const noexcept { return pool_; }
    [[nodiscard]] const umem_shape& umem() const noexcept { return umem_; }
    [[nodiscard]] port_layout& port() const noexcept { return port_; }

    /// The buffer that a slot of a ring names; nullptr when it is none of the pool's.
    [[nodiscard]] mbuf* buffer_at(std::uint64_t in_umem) const noexcept;

    /// Frames for the queue go to the socket from now on: 0, or why not. From before that the
    /// device keeps what it is given.
    [[nodiscard]] int connect(std::uint16_t queue, int socket) noexcept;

private:
    port_layout& port_;
    mempool_layout& pool_;
    umem_shape umem_;
    file_descriptor map_;
    file_descriptor program_;
    file_descriptor link_;
    std::uintptr_t first_;      ///< the pool's first buffer; it has one chunk and does not grow
    std::uint64_t bytes_;       ///< from there to the end of the last
    std::atomic_flag mending_;  // lanes open queues at the same time
};

/// An interface that refuses for good does so at every call: that is one error, not one for each.
void note_xdp_refusal(port_queue_layout& queue, int number) noexcept;

}  // namespace cohort::detail
