// A port's life: set-up of its queues, start, stop, close.

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/port/burst_journal.hpp"
#include "cohort/port/port.hpp"
#include "cohort/port/port_capture.hpp"
#include "cohort/port/port_host.hpp"

#include <string>
#include <thread>

#include <fmt/format.h>

namespace cohort {
namespace {

constexpr auto queue_patience = 1s;  // for an owner to let go at its next burst

std::uint32_t checked_descriptors(const port_limits& allowed, std::uint32_t wanted)
{
    const auto count = wanted == 0 ? allowed.default_descriptors : wanted;
    if (count < allowed.min_descriptors || count > allowed.max_descriptors ||
        count % allowed.align_descriptors != 0)
        throw error{errc::invalid_argument,
                    fmt::format("a queue cannot have {} descriptors; choose {} to {}, a multiple "
                                "of {}",
                                count, allowed.min_descriptors, allowed.max_descriptors,
                                allowed.align_descriptors)};
    return count;
}

void check_pool(const port_layout& port, const mempool_layout& pool)
{
    if (pool.kind != pool_kind::pktmbuf)
        throw error{errc::invalid_argument,
                    "an rx queue needs a pool of mbufs; create it with create_pktmbuf_pool"};
    const auto room = pool.data_room - std::min<std::uint32_t>(pool.data_room, mbuf_headroom);
    if (room < port.limits.min_rx_buffer)
        throw error{
            errc::invalid_argument,
            fmt::format("the buffers of the pool have {} bytes behind their headroom of {} but "
                        "the {} port needs {}; create the pool with data_room {} or more",
                        room, mbuf_headroom, port.driver.view(), port.limits.min_rx_buffer,
                        port.limits.min_rx_buffer + mbuf_headroom)};
}

lock_result take(owner_lock& lock, membership& self)
{
    const auto ask = [&](lane_id lane) { return self.liveness().is_dead(lane); };
    if (lock.holder() == self.lane())
        return lock_result::acquired;
    return lock.lock(self.lane(), deadline_in(queue_patience), ask);
}

[[noreturn]] void throw_held(std::string_view what, const port_queue_layout& queue)
{
    throw error{errc::in_use,
                fmt::format("{}: lane {} has a queue of it and does not let go; let that lane call "
                            "a burst, release the queue or end (\"cohort lanes\" names it)",
                            what, queue.owner.holder())};
}

void check_queue(std::uint16_t queue, std::uint16_t count, std::string_view direction)
{
    if (queue >= count)
        throw error{errc::invalid_argument, fmt::format("there is no {} queue {}; the port has {}",
                                                        direction, queue, count)};
}

/// The next phase in which the port is in that state; another generation.
std::uint64_t next_phase(std::uint64_t word, port_state state, lane_id closer = 0,
                         std::uint16_t silent = 0) noexcept
{
    return port_phase{.generation = port_phase::unpack(word).generation + 1,
                      .silent = silent,
                      .closer = closer,
                      .state = state}
        .pack();
}

/// Frees a queue at the end of a scope.
class owned_queue {
public:
    explicit owned_queue(port_queue_layout& queue) noexcept : queue_{queue} {}
    ~owned_queue() { queue_.owner.unlock(); }
    owned_queue(const owned_queue&) = delete;
    owned_queue& operator=(const owned_queue&) = delete;

private:
    port_queue_layout& queue_;
};

[[noreturn]] void throw_closing(port_phase phase)
{
    throw error{errc::in_use, fmt::format("the port is being closed by lane {}", phase.closer)};
}

void require_there(bool there)
{
    if (!there)
        throw error{errc::invalid_argument, "the port has been destroyed; create it anew"};
}

}  // namespace

void set_up(port_layout& port, port_queue_layout& queue, const rx_queue_setup& wanted)
{
    const auto descriptors = checked_descriptors(port.limits, wanted.descriptors);
    if (wanted.pool)
        check_pool(port, *wanted.pool);
    if (port.device_pool != 0 && (!wanted.pool || wanted.pool->index + 1u != port.device_pool))
        throw error{
            errc::invalid_argument,
            fmt::format("the device of the {} port has the memory of one pool, the one that "
                        "the port was created with; set its queues up with that one",
                        port.driver.view())};
    queue.pool = wanted.pool ? wanted.pool->index + 1u : 0;
    queue.descriptors = descriptors;
    queue.drop_on_empty = wanted.drop_on_empty_pool;
    queue.deferred.store(wanted.deferred, std::memory_order_relaxed);  // over the phase
}

void set_up(port_layout& port, port_queue_layout& queue, const tx_queue_setup& wanted)
{
    queue.descriptors = checked_descriptors(port.limits, wanted.descriptors);
    queue.deferred.store(wanted.deferred, std::memory_order_relaxed);  // over the phase
}

void port::own_for_set_up(port_queue_layout& queue)
{
    const auto until = deadline_in(queue_patience);
    lane_required(*self_);
    require_there(is_there());
    let_go_of(queue);
    for (std::uint64_t phase = 0; !own(queue, port_state::stopped, phase);) {
        require_there(is_there());
        if (port_phase::unpack(phase).state != port_state::stopped)
            throw error{errc::in_use, "the port is started; stop it before its queues are set up"};
        if (steady_clock::now() >= until)
            throw_held("the port is stopped", queue);
        std::this_thread::sleep_for(50us);
    }
}

/// So that a start that has looked at what is deferred before fails, and looks again.
void port::announce_set_up() noexcept
{
    auto seen = layout_->phase.load(std::memory_order_acquire);
    while (port_phase::unpack(seen).state == port_state::stopped &&
           !layout_->phase.compare_exchange_weak(seen, next_phase(seen, port_state::stopped),
                                                 std::memory_order_acq_rel,
                                                 std::memory_order_acquire)) {}
}

void port::change_state(port_state from, port_state to)
{
    for (;;) {
        auto seen = layout_->phase.load(std::memory_order_acquire);  // before the look at the port
        require_there(is_there());
        const auto phase = port_phase::unpack(seen);
        if (phase.state == to)
            return;
        if (phase.state != from)
            throw_closing(phase);
        const auto silent = to == port_state::started ? layout_->deferred() : std::uint16_t{0};
        COHORT_FAULT_POINT("port.changing");
        if (layout_->phase.compare_exchange_strong(seen, next_phase(seen, to, 0, silent),
                                                   std::memory_order_acq_rel))  // STARTED
            return;
    }
}

void port::set_silent(port_direction direction, std::uint16_t queue, bool silent)
{
    const bool is_rx = direction == port_direction::rx;
    require_there(is_there());
    check_queue(queue, is_rx ? rx_queues_ : tx_queues_, is_rx ? "rx" : "tx");
    const auto bit = layout_->bit_of(is_rx ? layout_->rx[queue] : layout_->tx[queue]);
    for (;;) {
        auto seen = layout_->phase.load(std::memory_order_acquire);  // before the look at the port
        require_there(is_there());
        const auto phase = port_phase::unpack(seen);
        if (phase.state == port_state::stopped)
            throw error{errc::invalid_argument,
                        "the port is stopped; start it before one of its queues"};
        if (phase.state == port_state::closing)
            throw_closing(phase);
        auto next = phase;
        next.silent = static_cast<std::uint16_t>(silent ? phase.silent | bit : phase.silent & ~bit);
        COHORT_FAULT_POINT("port.silencing");
        if (layout_->phase.compare_exchange_strong(seen, next.pack(),
                                                   std::memory_order_acq_rel))  // STARTED
            break;
    }
    if (silent)
        static_cast<void>(is_rx ? release_rx(queue) : release_tx(queue));
    else if (is_rx && layout_->primes != 0)
        prime(queue);
}

void port::set_up_rx(std::uint16_t queue, const rx_queue_setup& wanted)
{
    require_there(is_there());
    check_queue(queue, rx_queues_, "rx");
    own_for_set_up(layout_->rx[queue]);
    const owned_queue owned{layout_->rx[queue]};
    settle(layout_->rx[queue], port_direction::rx);
    set_up(*layout_, layout_->rx[queue], wanted);
    announce_set_up();
}

void port::set_up_tx(std::uint16_t queue, const tx_queue_setup& wanted)
{
    require_there(is_there());
    check_queue(queue, tx_queues_, "tx");
    own_for_set_up(layout_->tx[queue]);
    const owned_queue owned{layout_->tx[queue]};
    settle(layout_->tx[queue], port_direction::tx);
    set_up(*layout_, layout_->tx[queue], wanted);
    announce_set_up();
}

void port::require_change() const
{
    require_there(is_there());
    lane_required(*self_);
}

void port::throw_not_changed() const
{
    require_there(is_there());
    throw error{errc::stalled,
                fmt::format("the memory lock is held by live lane {} for more than a second; see "
                            "\"cohort lanes\"",
                            host_->segments().layout().lock.holder())};
}

void port::receive_also(reception what, bool on)
{
    const std::lock_guard guard{device_->mutex};
    require_there(device_->io != nullptr);
    int refused = 0;
    // A bit that is set speaks the truth: it comes after the wish, and goes before it.
    change_still([&] {
        auto& receives = layout_->receives;
        const auto bit = static_cast<std::uint32_t>(what);
        if (!on)
            receives.fetch_and(~bit, std::memory_order_relaxed);         // under the memory lock
        else if ((receives.load(std::memory_order_relaxed) & bit) != 0)  // under the memory lock
            return;
        COHORT_FAULT_POINT("port.choosing");
        refused = device_->io->receive_also(what, on);
        COHORT_FAULT_POINT("port.chosen");
        if (on && refused == 0)
            receives.fetch_or(bit, std::memory_order_relaxed);  // under the memory lock
    });
    if (refused == EOPNOTSUPP)
        throw error{errc::invalid_argument,
                    fmt::format("the {} port has no device that can be told what to receive",
                                layout_->driver.view())};
    if (refused != 0)
        throw_errno(refused, "cannot tell an interface what to receive");
}

port_callbacks& port::callbacks()
{
    if (!callbacks_)
        callbacks_ = std::make_unique<port_callbacks>();
    return *callbacks_;
}

callback_id port::add_rx_callback(std::uint16_t queue, rx_callback function)
{
    check_queue(queue, rx_queues_, "rx");
    return callbacks().add(queue, std::move(function));
}

callback_id port::add_tx_callback(std::uint16_t queue, tx_callback function)
{
    check_queue(queue, tx_queues_, "tx");
    return callbacks().add(queue, std::move(function));
}

bool port::remove_callback(callback_id which)
{
    const bool removed = callbacks_ && callbacks_->remove(which);
    if (removed && callbacks_->empty())
        callbacks_.reset();  // bursts pay for none then
    return removed;
}

void port::start()
{
    change_state(port_state::stopped, port_state::started);
    prime();
}

void port::stop()
{
    change_state(port_state::started, port_state::stopped);
}

port_closing::port_closing(port_layout& port, std::string_view name) : port_{&port}
{
    auto& self = membership_of(&port);
    if (port.capturer.holder() == self.lane())
        throw error{errc::in_use,
                    fmt::format("port \"{}\" is captured by the thread that is to destroy it; end "
                                "the capture first",
                                name)};
    auto seen = port.phase.load(std::memory_order_acquire);
    do {
        const auto phase = port_phase::unpack(seen);
        if (phase.state == port_state::closing && !self.liveness().is_dead(phase.closer))
            throw error{errc::in_use,
                        fmt::format("port \"{}\" is being closed by lane {}", name, phase.closer)};
    } while (!port.phase.compare_exchange_weak(
        seen, next_phase(seen, port_state::closing, self.lane()), std::memory_order_acq_rel));
    COHORT_FAULT_POINT("port.closing");
}

void port_closing::take_all(std::string_view name)
{
    auto& port = *port_;
    auto& self = membership_of(&port);
    const auto take_queue = [&](port_queue_layout& queue, port_direction direction) {
        if (take(queue.owner, self) == lock_result::stalled)
            throw_held(fmt::format("port \"{}\" is stopped but not destroyed", name), queue);
        settle(queue, direction);
    };
    for (std::uint16_t i = 0; i != port.rx_queues; ++i)
        take_queue(port.rx[i], port_direction::rx);
    for (std::uint16_t i = 0; i != port.tx_queues; ++i)
        take_queue(port.tx[i], port_direction::tx);
    if (take(port.capturer, self) == lock_result::stalled)
        throw error{errc::in_use,
                    fmt::format("port \"{}\" is stopped but not destroyed: lane {} captures it and "
                                "does not let go; let it go on or end it (\"cohort lanes\" names "
                                "it)",
                                name, port.capturer.holder())};
    port.capture.store(0, std::memory_order_relaxed);  // no queue is in a burst
    COHORT_FAULT_POINT("port.closed");
}

port_closing::~port_closing()
{
    if (port_)
        undo();
}

void port_closing::undo() noexcept
{
    const auto me = membership_of(port_).lane();
    for (auto& queue : port_->rx)
        queue.owner.release_of(me);
    for (auto& queue : port_->tx)
        queue.owner.release_of(me);
    port_->capturer.release_of(me);
    const auto closing = port_->phase.load(std::memory_order_relaxed);  // this lane closes it
    port_->phase.store(next_phase(closing, port_state::stopped), std::memory_order_release);
}

void scrub(port_layout& port, lane_id lane) noexcept
{
    for (auto& queue : port.rx) {
        unmark_for_dead(queue, port_direction::rx, lane);
        queue.owner.release_of(lane);
    }
    for (auto& queue : port.tx) {
        unmark_for_dead(queue, port_direction::tx, lane);
        queue.owner.release_of(lane);
    }
    end_capture(port, lane);
    auto seen = port.phase.load(std::memory_order_acquire);
    const auto phase = port_phase::unpack(seen);
    if (phase.state == port_state::closing && phase.closer == lane)
        port.phase.compare_exchange_strong(seen, next_phase(seen, port_state::stopped),
                                           std::memory_order_acq_rel);
}

}  // namespace cohort
