#include "xdp_device.hpp"

#include "cohort/base/cache_line.hpp"
#include "cohort/port/port_driver.hpp"

#include <utility>

namespace cohort::detail {

xdp_device::xdp_device(port_layout& port, mempool_layout& pool, file_descriptor map,
                       file_descriptor program, file_descriptor link)
    : port_{port}
    , pool_{pool}
    , umem_{.base = port.driver_words[xdp_word::umem_base],
            .bytes = port.driver_words[xdp_word::umem_bytes],
            .chunk_bytes = static_cast<std::uint32_t>(port.driver_words[xdp_word::chunk_bytes])}
    , map_{std::move(map)}
    , program_{std::move(program)}
    , link_{std::move(link)}
    , first_{reinterpret_cast<std::uintptr_t>(pool.handle(0))}
    , bytes_{std::uint64_t{pool.stride} * pool.count()}
{
}

mbuf* xdp_device::buffer_at(std::uint64_t in_umem) const noexcept
{
    const auto offset = umem_.from_kernel(in_umem) - first_;
    if (offset >= bytes_)
        return nullptr;
    return reinterpret_cast<mbuf*>(first_ + offset - offset % pool_.stride);
}

int xdp_device::connect(std::uint16_t queue, int socket) noexcept
{
    port_.device_keeps.store(1, std::memory_order_release);
    while (mending_.test_and_set(std::memory_order_acquire))
        cpu_relax();
    const auto mode = static_cast<xdp_mode>(port_.driver_words[xdp_word::mode]);
    const auto interface = static_cast<int>(port_.driver_words[xdp_word::interface_index]);
    const int unmended = restore_link(link_, program_.get(), interface, mode);
    mending_.clear(std::memory_order_release);
    return unmended != 0 ? unmended : connect_socket(map_.get(), queue, socket);
}

void note_xdp_refusal(port_queue_layout& queue, int number) noexcept
{
    if (queue.last_errno.exchange(number, std::memory_order_relaxed) != number)  // for display
        count_up(queue.errors, 1);
}

}  // namespace cohort::detail
