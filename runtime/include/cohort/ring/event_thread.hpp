#pragma once
/// A descriptor of this process and a thread that makes it readable: what waits in shared memory
/// becomes something for a loop around epoll.
///
/// *Thread safety*: one owner; `acknowledge` by one thread at a time; the descriptor may be polled
/// by any. `look` runs in the thread.
/// *When a process dies here*: nothing is shared.

#include "cohort/base/file_descriptor.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

namespace cohort {

class event_thread {
public:
    enum class found : std::uint8_t {
        nothing,  ///< look again
        news,     ///< the descriptor becomes readable; look again when that is acknowledged
        last,     ///< the descriptor becomes readable, and nothing is looked for any more
    };
    /// Waits for a while, less when `stop` is set. Does not throw.
    using look = std::function<found(const std::atomic<bool>& stop)>;
    enum class begin : std::uint8_t { at_once, when_acknowledged };

    /// Throws `errc::system` when there is no descriptor or thread left.
    event_thread(look what, begin when);
    /// As `stop`. What `look` refers to must be there until then.
    ~event_thread()
    {
        stop([] {});
    }
    event_thread(const event_thread&) = delete;
    event_thread& operator=(const event_thread&) = delete;

    /// Ends the thread after its present look, which `interrupt` may shorten. The descriptor stays.
    template <typename Interrupt>
    void stop(Interrupt&& interrupt)
    {
        if (!thread_.joinable())
            return;
        stop_.store(true, std::memory_order_release);
        wake();
        interrupt();
        thread_.join();
    }

    [[nodiscard]] int fd() const noexcept { return event_.get(); }
    /// Makes the descriptor unreadable, until there is something once more, which is looked for
    /// from now on.
    void acknowledge() noexcept;

private:
    void run(const look& what) noexcept;
    void wake() noexcept;

    file_descriptor event_;
    std::atomic<bool> stop_{false};
    std::atomic<std::uint32_t> looks_;  ///< 1: the thread is to look
    std::thread thread_;
};

}  // namespace cohort
