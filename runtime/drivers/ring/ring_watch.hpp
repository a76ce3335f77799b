#pragma once
/// Waiting for packets in a ring that a queue of a port is made of.
///
/// Other than who waits by ring/ring_wait.hpp, a port does not care which lanes have the roles of a
/// ring, nor whether its producer lives: the next one may come.
///
/// *Thread safety*: as said at each.
/// *When a process dies here*: the ring's bell stays armed, which costs its producer one vain wake.

#include "cohort/base/clock.hpp"
#include "cohort/memory/memory_layout.hpp"
#include "cohort/port/port_layout.hpp"
#include "cohort/ring/event_thread.hpp"
#include "cohort/ring/ring_layout.hpp"

#include <cstddef>
#include <cstdint>

namespace cohort::detail {

/// A queue's own words, port_queue_layout::aux.
namespace queue_word {
inline constexpr std::size_t entry = 0;       ///< index in the table of names
inline constexpr std::size_t generation = 1;  ///< of that entry
}  // namespace queue_word

/// The ring that a queue names. A ring is destroyed only when nobody uses it; a handle that is not
/// used may come later.
class ring_source {
public:
    ring_source(const port_queue_layout& queue, memory_layout& memory) noexcept;

    [[nodiscard]] bool is_there() const noexcept;
    [[nodiscard]] ring_layout& layout() const noexcept
    {
        return *static_cast<ring_layout*>(zone_->data());
    }
    /// Until the ring has elements, one slice of its bell at most, or until `until`. Any thread.
    void sleep(deadline until) const noexcept;

private:
    memzone_layout* zone_;
    std::uint32_t generation_;
};

/// A descriptor that is readable when the ring has elements; for one that is destroyed it waits.
/// Begins when it is acknowledged. Its end takes a slice at most.
class ring_watch {
public:
    /// Throws `errc::system` when there is no descriptor or thread left.
    explicit ring_watch(const ring_source& ring);

    [[nodiscard]] int fd() const noexcept { return thread_.fd(); }
    /// By one thread at a time.
    void acknowledge() noexcept { thread_.acknowledge(); }

private:
    event_thread thread_;
};

}  // namespace cohort::detail
