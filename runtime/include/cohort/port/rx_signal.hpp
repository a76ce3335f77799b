#pragma once
/// The descriptor behind `port::rx_fd`: an epoll instance around an eventfd, and around the
/// driver's descriptor while that has something to say. See rx_wait.hpp.
///
/// It belongs to one handle. The driver's descriptor may be open in other members as well, and an
/// epoll instance forgets it only when the last of them has closed it; this one goes whole.
///
/// *Thread safety*: `listen_to`, `note` and `clear` by one thread at a time; the rest by any.
/// *When a process dies here*: nothing is shared.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/memory/memory_layout.hpp"
#include "cohort/port/port_layout.hpp"

#include <atomic>
#include <cstdint>

namespace cohort {

class rx_signal {
public:
    /// Raised. Throws `errc::system` when no descriptor is left.
    rx_signal(const port_layout& port, std::uint16_t queue, const memzone_layout& entry,
              std::uint32_t generation);
    rx_signal(const rx_signal&) = delete;
    rx_signal& operator=(const rx_signal&) = delete;

    [[nodiscard]] int fd() const noexcept { return epoll_.get(); }

    /// -1: to none. False when the kernel does not allow it.
    bool listen_to(int device) noexcept;
    void raise() noexcept;
    void clear() noexcept;
    /// Words of the port and the queue as they were. A look that finds others raises the signal.
    void note(std::uint64_t phase, std::uint64_t owner) noexcept;
    void look() noexcept;

private:
    const port_layout& port_;
    const port_queue_layout& queue_;
    const memzone_layout& entry_;
    std::uint32_t generation_;
    file_descriptor epoll_;
    file_descriptor event_;
    int device_ = -1;
    // Relaxed: a look that finds one new and one old raises in vain, or at the next look.
    std::atomic<std::uint64_t> phase_{~std::uint64_t{0}};
    std::atomic<std::uint64_t> owner_{~std::uint64_t{0}};
};

}  // namespace cohort
