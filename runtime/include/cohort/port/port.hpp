#pragma once
/// A port: packets in and out, by burst, from any member.
///
/// Semantics of rte_eth_rx_burst and rte_eth_tx_burst. rx fills mbufs of the queue's pool and hands
/// them to the caller; tx takes over the packets it accepts (the driver frees them) and leaves the
/// rest with the caller.
///
/// *Thread safety*: a queue is owned by the first lane that bursts on it, until that lane leaves or
/// dies; bursts of other lanes return 0. Different queues are independent.
/// *When a process dies here*: its queues are free for the next lane, which carries on where the
/// shared state says. Each driver states what that means for packets half-way; for those that use
/// burst_journal.hpp, no packet is lost or doubled.

#include "cohort/packet/mbuf.hpp"
#include "cohort/port/port_layout.hpp"

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace cohort {

/// One process's hold on one port: descriptors, buffers. Made by a driver, never shared.
class port_io {
public:
    virtual ~port_io() = default;
    /// Called only by the lane that owns the queue.
    virtual std::size_t rx_burst(std::uint16_t queue, std::span<mbuf*> packets) noexcept = 0;
    virtual std::size_t tx_burst(std::uint16_t queue, std::span<mbuf* const> packets) noexcept = 0;
    /// Called when this process's lane has just become the owner, by claim or take-over.
    virtual bool open_rx(std::uint16_t queue) noexcept = 0;
    virtual bool open_tx(std::uint16_t queue) noexcept = 0;
};

/// What a driver can do; one object per process, found by name.
class port_driver {
public:
    virtual ~port_driver() = default;
    /// Checks the options and fills the shared part of a new port: the number of its queues, and
    /// `options` as other members are to read them (paths absolute). Throws `cohort::error`.
    virtual void create(port_layout& port, std::string_view options) const = 0;
    /// Opens the port in this process. `rx_pool` is the pool of all its rx queues, or nullptr.
    [[nodiscard]] virtual std::unique_ptr<port_io> open(port_layout& port,
                                                        mempool_layout* rx_pool) const = 0;
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
/// `value` with the backslashes that make option_value return it unchanged.
[[nodiscard]] std::string escape_option(std::string_view value);
/// Throws `errc::invalid_argument` for an item that is not "key=value" with a known key.
void check_option_keys(std::string_view driver, std::string_view options,
                       std::span<const std::string_view> known);

/// The handle of a process. Movable; may be used by all its threads.
class port {
public:
    port(port_layout& layout, mempool_layout* rx_pool);

    /// Fills up to packets.size() mbufs; 0 when nothing is there or the queue is another lane's.
    std::size_t rx_burst(std::uint16_t queue, std::span<mbuf*> packets) noexcept;
    /// Sends in order and returns how many were accepted.
    std::size_t tx_burst(std::uint16_t queue, std::span<mbuf* const> packets) noexcept;

    /// True once an rx queue's source has no more packets (files only).
    [[nodiscard]] bool rx_ended(std::uint16_t queue) const noexcept;
    [[nodiscard]] port_layout& layout() const noexcept { return *layout_; }

private:
    enum class claim { none, kept, fresh };
    [[nodiscard]] claim claim_queue(port_queue_layout& queue) noexcept;

    port_layout* layout_;
    std::unique_ptr<port_io> io_;
};

/// Frees the queues the lane owns. For the reaper, or the lane itself when it leaves. Idempotent.
void scrub(port_layout& port, lane_id lane) noexcept;

/// Adds to a counter that has one writer.
inline void count_up(std::atomic<std::uint64_t>& counter, std::uint64_t by) noexcept
{
    counter.store(counter.load(std::memory_order_relaxed) + by,
                  std::memory_order_relaxed);  // one writer
}

}  // namespace cohort
