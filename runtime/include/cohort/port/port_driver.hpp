#pragma once
/// What a driver is: per-process operations, found by name, on a port whose data are in the region.
///
/// *Thread safety*: registering and finding from any thread; a port_io as said at each call.
/// *When a process dies here*: the next owner of a queue calls `open_rx` or `open_tx`, which finish
/// or undo what the shared words and the journal say was under way.

#include "cohort/base/clock.hpp"
#include "cohort/packet/mbuf.hpp"
#include "cohort/port/port_layout.hpp"
#include "cohort/port/port_link.hpp"

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

class port_host;

/// What there is to wait for at an rx queue.
enum class rx_outlook : std::uint8_t {
    ready,    ///< packets, or a reason to look for them by polling, as a pool without buffers
    waiting,  ///< none; when some come, the queue's descriptor is readable
    silent,   ///< none, and none come: the device is gone, or the source has ended
};

/// One process's hold on one port: descriptors, buffers. Made by a driver, never shared.
class port_io {
public:
    virtual ~port_io() = default;
    /// Called only by the lane that owns the queue.
    virtual std::size_t rx_burst(std::uint16_t queue, std::span<mbuf*> packets) noexcept = 0;
    virtual std::size_t tx_burst(std::uint16_t queue, std::span<mbuf* const> packets) noexcept = 0;
    /// Called when this process's lane has just become the owner, by claim or take-over, or the
    /// port was started anew. `pool` is nullptr when the queue has none. False: not to be had now.
    virtual bool open_rx(std::uint16_t queue, mempool_layout* pool) noexcept = 0;
    virtual bool open_tx(std::uint16_t queue) noexcept = 0;
    /// Sleeping at an rx queue, see rx_wait.hpp. Called only by the owner, who is about to sleep. A
    /// driver that leaves these out is polled.
    [[nodiscard]] virtual rx_outlook arm_rx(std::uint16_t) noexcept { return rx_outlook::ready; }
    /// After `waiting`: returns when packets may be there, or at the deadline.
    virtual void sleep_rx(std::uint16_t queue, deadline until) noexcept;
    /// What is readable, after `waiting`, as soon as packets are there; of this process, and the
    /// same as long as this object lives. -1 when there is none. Any thread. Throws `error`.
    [[nodiscard]] virtual int rx_descriptor(std::uint16_t) { return -1; }
    /// What the device has dropped by its own count, in two steps, so that nobody waits for the
    /// kernel under a lock. The first asks the device, keeps the answer in this object and says
    /// whether there is anything to add; the second adds it to the port's counters. Any thread, one
    /// at a time; the second while the port is there and stays.
    [[nodiscard]] virtual bool look_at_drops() noexcept { return false; }
    virtual void count_drops() noexcept {}
    /// The device as it is now; nothing when the driver has none. Any thread. What it is to receive
    /// is filled in by others.
    [[nodiscard]] virtual std::optional<port_link> link() noexcept { return std::nullopt; }
    /// Returns 0 or an errno. Any thread, one in all members at a time. To begin or end twice is to
    /// do it once. It ends with the port's descriptors.
    [[nodiscard]] virtual int receive_also(reception, bool) noexcept { return EOPNOTSUPP; }
    /// nullptr when the port's words agree with the device, else what does not. While nobody works.
    [[nodiscard]] virtual const char* find_fault() noexcept { return nullptr; }
};

/// What is asked of a new port.
struct port_request {
    std::string_view options;
    mempool_layout* pool = nullptr;    ///< of its rx queues
    std::uint32_t rx_descriptors = 0;  ///< 0 = the driver's default
    std::uint32_t tx_descriptors = 0;
};

/// What a driver can do; one object per process, found by name.
class port_driver {
public:
    virtual ~port_driver() = default;
    /// Checks the request and fills the shared part of a new port: the number of its queues, their
    /// limits, and `options` as other members are to read them (paths absolute). Throws `error`.
    virtual void create(port_layout& port, const port_request& request, port_host& host) const = 0;
    /// Opens the port in this process. Throws `error`.
    [[nodiscard]] virtual std::unique_ptr<port_io> open(port_layout& port,
                                                        port_host& host) const = 0;
    /// The port is about to go; every queue of it is the calling lane's. Lets go of what handles of
    /// other members would keep from the next port. Should this one stay after all, `open_rx` and
    /// `open_tx` take it up again. Throws `error`, which stops nothing.
    virtual void let_go(port_layout&, port_host&) const {}
};

/// Drivers are registered once per process, before ports are created or found. The names of the
/// built-in ones are taken. Throws `errc::exists`.
void register_port_driver(std::string_view name, std::unique_ptr<port_driver> driver);
/// Throws `errc::invalid_argument` naming the drivers there are.
[[nodiscard]] const port_driver& find_port_driver(std::string_view name);

/// "name:options" split at the first colon.
struct port_spec {
    std::string driver;
    std::string options;
};
[[nodiscard]] port_spec parse_port_spec(std::string_view text);

/// Value of `key` in "a=1,b=2"; empty when absent. A backslash keeps a comma or backslash after it.
[[nodiscard]] std::string option_value(std::string_view options, std::string_view key);
/// The values of a key that may be given several times, in order.
[[nodiscard]] std::vector<std::string> option_values(std::string_view options,
                                                     std::string_view key);
/// A number from `least` to `most`; `otherwise` when the key is absent. Throws
/// `errc::invalid_argument` with both limits.
struct number_range {
    std::uint64_t least = 0;
    std::uint64_t most = 0;
};
[[nodiscard]] std::uint64_t number_option(std::string_view driver, std::string_view options,
                                          std::string_view key, std::uint64_t otherwise,
                                          number_range allowed);
/// `value` with the backslashes that make option_value return it unchanged.
[[nodiscard]] std::string escape_option(std::string_view value);
/// Throws `errc::invalid_argument` for an item that is not "key=value" with a known key.
void check_option_keys(std::string_view driver, std::string_view options,
                       std::span<const std::string_view> known);

/// Adds to a counter that has one writer.
inline void count_up(std::atomic<std::uint64_t>& counter, std::uint64_t by) noexcept
{
    counter.store(counter.load(std::memory_order_relaxed) + by,
                  std::memory_order_relaxed);  // one writer
}

}  // namespace cohort
