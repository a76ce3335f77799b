#pragma once
/// A port: packets in and out, by burst, from any member.
///
/// Semantics of rte_eth_rx_burst and rte_eth_tx_burst. rx fills mbufs of the queue's pool and hands
/// them to the caller; tx takes over the packets it accepts (the driver frees them) and leaves the
/// rest with the caller.
///
/// *Thread safety*: a queue is owned by the first lane that bursts on it, until that lane releases
/// it, leaves or dies; bursts of other lanes return 0. Different queues are independent. Starting,
/// stopping, set-up and counters by any lane.
/// *When a process dies here*: its queues are free for the next lane, which carries on where the
/// shared state says. What the dead's last tx burst had accepted may stay unsent until the next
/// owner's first burst, which may be empty. Each driver states what that means for packets
/// half-way; for those that use burst_journal.hpp, no packet is lost or doubled. Killed while it
/// closes a port: the port is stopped. *Once it is destroyed*: the handle reads and writes nothing
/// of it any more, for its memory may be another's; bursts return 0, counts are 0, changes are
/// refused.

#include "cohort/base/fault_point.hpp"
#include "cohort/packet/tx_prepare.hpp"
#include "cohort/port/port_callbacks.hpp"
#include "cohort/port/port_device.hpp"
#include "cohort/port/port_driver.hpp"
#include "cohort/port/port_host.hpp"
#include "cohort/port/port_link.hpp"
#include "cohort/port/port_offload.hpp"
#include "cohort/port/rx_wait.hpp"

#include <array>
#include <memory>

namespace cohort {

struct capture_layout;

struct rx_queue_setup {
    mempool_layout* pool = nullptr;  ///< none: it receives nothing, but with a ring
    std::uint32_t descriptors = 0;   ///< 0 = the driver's default
    /// At af_packet, pcap and tap ports: drop and count as missed what finds no buffer. Else it
    /// waits; at af_xdp ports the kernel drops it, and null ports bring nothing then.
    bool drop_on_empty_pool = false;
    bool deferred = false;  ///< silent when the port starts, until start_rx
};
struct tx_queue_setup {
    std::uint32_t descriptors = 0;  ///< 0 = the driver's default
    bool deferred = false;          ///< silent when the port starts, until start_tx
};

/// Since the port was made or the last reset. Exact when nobody is at work. What a device counts by
/// itself, at af_packet, af_xdp and tap ports, is fetched each second by dispatchers.
struct port_stats {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t missed = 0;     ///< rx: dropped by the device for want of room or buffers
    std::uint64_t errors = 0;     ///< malformed, refused by the device, or not to be made ready
    std::uint64_t no_buffer = 0;  ///< rx: bursts cut short because the pool was empty
};

/// The handle of a process. Movable; may be used by all its threads. Once the port has been
/// destroyed, the next burst closes what this process has of the device; until then, or until the
/// handle goes, a device of the kernel may be refused to the next port.
class port {
public:
    port(port_layout& layout, port_host& host);

    /// Fills up to packets.size() mbufs; 0 when nothing is there, the queue is another lane's or
    /// stopped, or the port is stopped or gone.
    std::size_t rx_burst(std::uint16_t queue, std::span<mbuf*> packets) noexcept
    {
        if (queue >= rx_queues_ || !hold_rx(queue))
            return 0;
        const auto count = io_->rx_burst(queue, packets);
        if (is_attended()) [[unlikely]]
            received_aside(queue, packets.first(count));
        return callbacks_ ? callbacks_->received(queue, packets.first(count)) : count;
    }
    /// Sends in order and returns how many were accepted. What counts as an error is accepted.
    std::size_t tx_burst(std::uint16_t queue, std::span<mbuf* const> packets) noexcept
    {
        if (queue >= tx_queues_ || (!holds(layout_->tx[queue], tx_[queue]) && !claim_tx(queue)))
            return 0;
        if (callbacks_) [[unlikely]]
            callbacks_->sending(queue, packets);
        return is_attended() ? tx_aside(queue, packets) : io_->tx_burst(queue, packets);
    }

    /// Sleeping in place of polling: see rx_wait.hpp.
    [[nodiscard]] rx_wake rx_wait(std::uint16_t queue, deadline until) noexcept;
    [[nodiscard]] int rx_fd(std::uint16_t queue);
    rx_wake rx_arm(std::uint16_t queue) noexcept;

    /// Hands a queue over: the next lane that bursts on it has it. False when the calling lane does
    /// not own it.
    bool release_rx(std::uint16_t queue) noexcept;
    bool release_tx(std::uint16_t queue) noexcept;

    /// Functions of this handle for its bursts on a queue: see port_callbacks.hpp. A capture sees
    /// packets as they were received, and as they are sent. Throws `errc::invalid_argument` for a
    /// queue that is not there.
    callback_id add_rx_callback(std::uint16_t queue, rx_callback function);
    callback_id add_tx_callback(std::uint16_t queue, tx_callback function);
    /// False when there is none of that number.
    bool remove_callback(callback_id which);

    /// Ports are made started. A stopped port moves no packet: an owner may finish the burst it is
    /// in, and lets go of its queue at the next. What arrives meanwhile stays with the device.
    /// Stopping or starting twice changes nothing. Throws `errc::in_use` while somebody closes it.
    void start();
    void stop();
    [[nodiscard]] bool is_started() const noexcept;
    /// Claims each rx queue that is free for a moment, where a device has packets only for queues
    /// that have been claimed once. Part of start(), but for a port that is not published yet.
    void prime() noexcept;

    /// Of a started port, one queue. A stopped one moves no packet; its owner lets go of it at its
    /// next burst, if the queue is stopped then, or at once if it is the caller. The other queues
    /// stay their owners'. Starting the port starts each queue that is not set up as deferred; a
    /// start at the moment of a set-up may go by what was before. Semantics of
    /// rte_eth_dev_rx_queue_start and _stop. Twice changes nothing. Throws `errc::invalid_argument`
    /// for a queue that is not there and while the port is stopped, `in_use` while somebody closes
    /// it.
    void start_rx(std::uint16_t queue) { set_silent(port_direction::rx, queue, false); }
    void stop_rx(std::uint16_t queue) { set_silent(port_direction::rx, queue, true); }
    void start_tx(std::uint16_t queue) { set_silent(port_direction::tx, queue, false); }
    void stop_tx(std::uint16_t queue) { set_silent(port_direction::tx, queue, true); }

    /// Of a stopped port. Semantics of rte_eth_rx_queue_setup. Throws `invalid_argument` for a
    /// queue, descriptor count or pool that cannot be, `in_use` when the port runs or a lane does
    /// not let go of the queue.
    void set_up_rx(std::uint16_t queue, const rx_queue_setup& wanted);
    void set_up_tx(std::uint16_t queue, const tx_queue_setup& wanted);

    /// The device as it is now; of a port that is gone, one that is down. Asks the kernel.
    [[nodiscard]] port_link link() const noexcept;
    /// Begins or ends, for all queues and members. Throws `errc::invalid_argument` when the driver
    /// has no such thing or the port is gone, `no_space` without a lane, `stalled`, or what the
    /// kernel says.
    void receive_also(reception what, bool on);
    void set_promiscuous(bool on) { receive_also(reception::promiscuous, on); }
    void set_all_multicast(bool on) { receive_also(reception::all_multicast, on); }

    /// What is done to packets by the way, from the next burst of each lane on; see
    /// port_offload.hpp. Throws `errc::invalid_argument` when the port is gone, `no_space` without
    /// a lane, `stalled` when the memory lock is not to be had within a second.
    void set_offloads(port_offloads wanted);
    /// Packets made ready for this port: `prepare_tx` of tx_prepare.hpp, but for what the device
    /// does itself (a tap port with offload=1), and a length that it takes. Semantics of
    /// rte_eth_tx_prepare. Of a port that is gone: all are refused.
    [[nodiscard]] prepared prepare_tx(std::span<mbuf* const> packets) const noexcept;
    [[nodiscard]] port_offloads offloads() const noexcept;

    /// With what the device has dropped by its own count, unless the calling thread has no lane, or
    /// the memory lock, under which that is added, is not to be had within a second: then a later
    /// call by this handle adds it. What another process has fetched from the device is not in it
    /// until that one has added it.
    [[nodiscard]] port_stats rx_stats(std::uint16_t queue) const noexcept;
    [[nodiscard]] port_stats tx_stats(std::uint16_t queue) const noexcept;
    /// Of all queues of a direction together.
    [[nodiscard]] port_stats rx_stats() const noexcept;
    [[nodiscard]] port_stats tx_stats() const noexcept;
    /// False, and nothing is reset, when the port is gone, the memory lock not to be had within a
    /// second, or the calling thread has no lane.
    bool reset_stats() noexcept;

    /// True once an rx queue's source has no more packets: files do, and so does a port that is
    /// gone.
    [[nodiscard]] bool rx_ended(std::uint16_t queue) const noexcept;
    /// nullptr when the driver's invariants hold or the port is gone, else the one that does not,
    /// in words, or why they cannot be looked at. Exact when nobody is at work.
    [[nodiscard]] const char* find_fault() const noexcept;
    [[nodiscard]] std::uint16_t rx_queues() const noexcept { return rx_queues_; }
    [[nodiscard]] std::uint16_t tx_queues() const noexcept { return tx_queues_; }
    /// Only while the port is there.
    [[nodiscard]] port_layout& layout() const noexcept { return *layout_; }

private:
    /// What the owner word and the phase were when a lane last looked whether the queue, which it
    /// has opened, is its to use. Written and compared by the lane that the owner word names.
    struct opened {
        std::uint64_t owner = ~std::uint64_t{0};
        std::uint64_t phase = ~std::uint64_t{0};  // no phase of a port
    };

    [[nodiscard]] bool holds(const port_queue_layout& queue, const opened& seen) const noexcept
    {
        return is_there() && queue.owner.holder() == self_->lane() &&
               queue.owner.word() == seen.owner &&
               layout_->phase.load(std::memory_order_relaxed) == seen.phase;  // claiming orders
    }
    [[nodiscard]] bool is_captured() const noexcept
    {
        return layout_->capture.load(std::memory_order_relaxed) != 0;  // recording looks again
    }
    [[nodiscard]] port_offloads offloads_now() const noexcept
    {
        return port_offloads::unpack(
            layout_->offloads.load(std::memory_order_relaxed));  // a setting
    }
    /// Something is done with packets beside moving them.
    [[nodiscard]] bool is_attended() const noexcept
    {
        return (layout_->capture.load(std::memory_order_relaxed) |        // recording looks again
                layout_->offloads.load(std::memory_order_relaxed)) != 0;  // a setting
    }
    void received_aside(std::uint16_t queue, std::span<mbuf* const> packets) noexcept;
    std::size_t tx_aside(std::uint16_t queue, std::span<mbuf* const> packets) noexcept;
    void record_rx(std::uint16_t queue, std::span<mbuf* const> packets) noexcept;
    std::size_t tx_recorded(std::uint16_t queue, std::span<mbuf* const> packets) noexcept;
    [[nodiscard]] capture_layout* streams() const noexcept;
    [[nodiscard]] bool is_there() const noexcept { return entry_->is_there(generation_); }
    /// Whether what `look` reads of the layout was of this port.
    template <typename Look>
    [[nodiscard]] bool saw(Look&& look) const noexcept
    {
        if (!is_there())
            return false;
        COHORT_FAULT_POINT("port.reading");
        look();
        std::atomic_signal_fence(std::memory_order_acquire);  // loads stay in order: THERE
        return is_there();
    }
    [[nodiscard]] bool is_in(port_state wanted, const port_queue_layout& queue,
                             std::uint64_t& phase) const noexcept;
    [[nodiscard]] bool still_owns(const port_queue_layout& queue, opened& seen) noexcept;
    /// One try to own a queue while the port is in that state. Writes to nothing of a port that is
    /// gone.
    [[nodiscard]] bool own(port_queue_layout& queue, port_state wanted,
                           std::uint64_t& phase) noexcept;
    void own_for_set_up(port_queue_layout& queue);
    void change_state(port_state from, port_state to);
    void announce_set_up() noexcept;
    void prime(std::uint16_t queue) noexcept;
    void set_silent(port_direction direction, std::uint16_t queue, bool silent);
    /// False when the calling lane does not own it.
    bool let_go_of(port_queue_layout& queue) noexcept;
    [[nodiscard]] bool claim(port_queue_layout& queue, std::uint64_t& phase) noexcept;
    bool claim_rx(std::uint16_t queue) noexcept;
    bool claim_tx(std::uint16_t queue) noexcept;
    [[nodiscard]] port_callbacks& callbacks();
    [[nodiscard]] bool hold_rx(std::uint16_t queue) noexcept
    {
        return holds(layout_->rx[queue], rx_[queue]) || claim_rx(queue);
    }
    /// Calls `work` on a port that is there and stays. False when it is not, when `work` could not
    /// be begun within a second, or the thread has no lane.
    template <typename Work>
    [[nodiscard]] bool with_port_still(Work&& work) const noexcept
    {
        bool there = false;
        static_cast<void>(host_->segments().hold_still(self_->who(), deadline_in(1s), [&] {
            there = is_there();
            if (there)
                work();
        }));
        return there;
    }
    /// The same for a change that is refused otherwise: throws `invalid_argument`, `no_space` or
    /// `stalled`.
    template <typename Work>
    void change_still(Work&& work)
    {
        require_change();
        if (!with_port_still(work))
            throw_not_changed();
    }
    void require_change() const;
    [[noreturn]] void throw_not_changed() const;
    template <typename Sum>
    [[nodiscard]] port_stats counted(Sum&& sum) const noexcept;
    void close_device() noexcept;

    port_layout* layout_;
    port_host* host_;
    membership* self_;
    const memzone_layout* entry_;  ///< stays when the port goes
    std::uint32_t generation_;     ///< of the entry
    std::uint16_t rx_queues_;      ///< the layout may go away
    std::uint16_t tx_queues_;
    std::array<opened, max_port_queues> rx_{};
    std::array<opened, max_port_queues> tx_{};
    std::unique_ptr<port_device> device_;
    port_io* io_;                                ///< for owners
    std::unique_ptr<port_callbacks> callbacks_;  ///< nullptr = none
};

/// Checks and writes the set-up of a queue that nobody uses. Throws `invalid_argument`.
void set_up(port_layout& port, port_queue_layout& queue, const rx_queue_setup& wanted);
void set_up(port_layout& port, port_queue_layout& queue, const tx_queue_setup& wanted);

/// A port that nobody can use: it is in CLOSING, and every queue belongs to the calling lane.
/// Unless it is completed, the port is stopped again and the queues are free.
class port_closing {
public:
    /// REQUIRES: the port is there, and stays until this returns; afterwards nobody else closes it.
    /// Throws `errc::in_use` when a live lane closes it, or the calling one captures it.
    port_closing(port_layout& port, std::string_view name);
    /// Takes every queue, and the capture. Throws `errc::in_use` when a live lane does not let go
    /// in time.
    void take_all(std::string_view name);
    ~port_closing();
    port_closing(const port_closing&) = delete;
    port_closing& operator=(const port_closing&) = delete;

    /// The port is gone, with the words of its queues.
    void complete() noexcept { port_ = nullptr; }

private:
    void undo() noexcept;

    port_layout* port_;
};

/// Frees the queues the lane owns. For the reaper, or the lane itself when it leaves. Idempotent.
void scrub(port_layout& port, lane_id lane) noexcept;

}  // namespace cohort
