#include "cohort/port/port.hpp"

#include "cohort/base/fault_point.hpp"
#include "cohort/port/burst_journal.hpp"
#include "cohort/port/capture_layout.hpp"
#include "cohort/port/port_host.hpp"
#include "cohort/port/xstats.hpp"

namespace cohort {
namespace {

/// The counters themselves have their one writer; a reset notes where they stand.
void reset(port_queue_layout& queue) noexcept
{
    const std::atomic<std::uint64_t>* const counters[] = {
        &queue.packets, &queue.bytes, &queue.missed, &queue.errors, &queue.no_buffer};
    for (std::size_t i = 0; i != std::size(counters); ++i)
        queue.base[i].store(counters[i]->load(std::memory_order_relaxed),  // a count
                            std::memory_order_release);                    // RESET
}

bool of_one_generation(std::uint64_t a, std::uint64_t b) noexcept
{
    return port_phase::unpack(a).generation == port_phase::unpack(b).generation;
}

}  // namespace

port::port(port_layout& layout, port_host& host)
    : layout_{&layout}
    , host_{&host}
    , self_{&membership_of(&layout)}
    , entry_{&host.entry_of(layout)}
    , generation_{entry_->word().generation}
    , rx_queues_{layout.rx_queues}
    , tx_queues_{layout.tx_queues}
    , device_{std::make_unique<port_device>(layout, host)}
    , io_{device_->io.get()}
{
}

bool port::is_in(port_state wanted, const port_queue_layout& queue,
                 std::uint64_t& phase) const noexcept
{
    phase = layout_->phase.load(std::memory_order_acquire);  // STARTED
    const auto now = port_phase::unpack(phase);
    return is_there() && now.state == wanted && (now.silent & layout_->bit_of(queue)) == 0;
}

bool port::own(port_queue_layout& queue, port_state wanted, std::uint64_t& phase) noexcept
{
    const auto me = self_->lane();
    const auto seen = queue.owner.look();  // before the look at the port: see lock_if
    if (me == 0 || !is_in(wanted, queue, phase))
        return false;
    COHORT_FAULT_POINT("port.owning");
    if (!queue.owner.lock_if(seen, me,
                             [&](lane_id lane) { return self_->liveness().is_dead(lane); }))
        return false;
    const auto before = phase;
    if (is_in(wanted, queue, phase) && of_one_generation(before, phase))
        return true;
    queue.owner.unlock();  // who has changed the port may have returned before this lane came
    return false;
}

/// Others of its queues have been stopped or started, or this one was and is there again.
bool port::still_owns(const port_queue_layout& queue, opened& seen) noexcept
{
    std::uint64_t phase = 0;
    if (self_->lane() == 0 || !is_in(port_state::started, queue, phase) ||
        queue.owner.holder() != self_->lane() || queue.owner.word() != seen.owner ||
        !of_one_generation(seen.phase, phase))
        return false;
    seen.phase = phase;
    return true;
}

bool port::let_go_of(port_queue_layout& queue) noexcept
{
    const auto me = self_->known_lane();
    // In this order: a port that is there after this lane was seen to own a queue of it cannot go.
    if (me == 0 || owner_lock::holder_in(queue.owner.look()) != me || !is_there())
        return false;
    queue.owner.unlock();
    return true;
}

bool port::claim(port_queue_layout& queue, std::uint64_t& phase) noexcept
{
    if (!is_there()) {
        close_device();
        return false;
    }
    let_go_of(queue);  // opened anew, or by another handle of this lane
    if (!own(queue, port_state::started, phase))
        return false;
    COHORT_FAULT_POINT("port.claimed");
    return true;
}

/// The port has gone, and nobody owns a queue of it any more.
void port::close_device() noexcept
{
    const std::lock_guard guard{device_->mutex};
    for (const auto& signal : device_->signals)
        if (signal)
            signal->listen_to(-1);
    device_->io.reset();
}

const char* port::find_fault() const noexcept
{
    const std::lock_guard guard{device_->mutex};
    const char* fault = nullptr;
    if (device_->io && !with_port_still([&] { fault = device_->io->find_fault(); }) && is_there())
        return self_->lane() == 0
                   ? "it cannot be looked at: this thread has no lane"
                   : "it cannot be looked at: somebody has the memory lock for more than a second";
    return fault;
}

port_link port::link() const noexcept
{
    const std::lock_guard guard{device_->mutex};
    port_link now;
    std::uint32_t receives = 0;
    if (!device_->io || !saw([&] {
            receives = layout_->receives.load(std::memory_order_relaxed);  // for display
        }))
        return now;
    if (const auto device = device_->io->link())
        now = *device;
    else
        now.up = is_started();
    now.promiscuous = (receives & static_cast<std::uint32_t>(reception::promiscuous)) != 0;
    now.all_multicast = (receives & static_cast<std::uint32_t>(reception::all_multicast)) != 0;
    return now;
}

void port::prime() noexcept
{
    if (!is_there() || !entry_->is_live() || layout_->primes == 0)
        return;
    for (std::uint16_t i = 0; i != rx_queues_; ++i)
        prime(i);
}

void port::prime(std::uint16_t queue) noexcept
{
    const bool ours = layout_->rx[queue].owner.holder() == self_->lane();
    static_cast<void>(rx_burst(queue, {}));
    if (!ours)
        release_rx(queue);
}

bool port::claim_rx(std::uint16_t queue) noexcept
{
    auto& shared = layout_->rx[queue];
    std::uint64_t phase = 0;
    if (still_owns(shared, rx_[queue]))
        return true;
    if (!claim(shared, phase))
        return false;
    settle(shared, port_direction::rx);
    if (!io_->open_rx(queue, host_->pool_of(shared))) {
        shared.owner.unlock();
        return false;
    }
    rx_[queue] = {shared.owner.word(), phase};
    return true;
}

bool port::claim_tx(std::uint16_t queue) noexcept
{
    auto& shared = layout_->tx[queue];
    std::uint64_t phase = 0;
    if (still_owns(shared, tx_[queue]))
        return true;
    if (!claim(shared, phase))
        return false;
    settle(shared, port_direction::tx);
    if (!io_->open_tx(queue)) {
        shared.owner.unlock();
        return false;
    }
    tx_[queue] = {shared.owner.word(), phase};
    return true;
}

bool port::release_rx(std::uint16_t queue) noexcept
{
    return queue < rx_queues_ && let_go_of(layout_->rx[queue]);
}

bool port::release_tx(std::uint16_t queue) noexcept
{
    return queue < tx_queues_ && let_go_of(layout_->tx[queue]);
}

/// nullptr when nothing is captured any more. Good while a queue is held: only who has them all
/// destroys it.
capture_layout* port::streams() const noexcept
{
    const auto word = layout_->capture.load(std::memory_order_acquire);  // CAPTURED
    const auto& memory = host_->segments().layout();
    if (word == 0 || word > memory.zone_count)
        return nullptr;
    return static_cast<capture_layout*>(memory.zones[word - 1].data());
}

void port::record_rx(std::uint16_t queue, std::span<mbuf* const> packets) noexcept
{
    auto* capture = streams();
    if (!capture || packets.empty())
        return;
    capture_writer writer{*capture, queue};
    writer.write(packets);
    writer.commit(packets.size());
}

/// Copied before: afterwards the driver may have freed them.
std::size_t port::tx_recorded(std::uint16_t queue, std::span<mbuf* const> packets) noexcept
{
    auto* capture = streams();
    if (!capture)
        return io_->tx_burst(queue, packets);
    capture_writer writer{*capture, std::size_t{rx_queues_} + queue};
    writer.write(packets);
    const auto accepted = io_->tx_burst(queue, packets);
    writer.commit(accepted);
    return accepted;
}

bool port::is_started() const noexcept
{
    auto state = port_state::stopped;
    const bool there = saw([&] {
        const auto word = layout_->phase.load(std::memory_order_acquire);  // STARTED
        state = port_phase::unpack(word).state;
    });
    return there && state == port_state::started;
}

template <typename Sum>
port_stats port::counted(Sum&& sum) const noexcept
{
    port_stats counts;
    return saw([&] { counts = sum(*layout_); }) ? counts : port_stats{};
}

port_stats port::rx_stats(std::uint16_t queue) const noexcept
{
    device_->add_drops(deadline_in(1s));
    if (queue >= rx_queues_)
        return {};
    return counted([&](const port_layout& shared) { return stats_of(shared.rx[queue]); });
}

port_stats port::tx_stats(std::uint16_t queue) const noexcept
{
    if (queue >= tx_queues_)
        return {};
    return counted([&](const port_layout& shared) { return stats_of(shared.tx[queue]); });
}

port_stats port::rx_stats() const noexcept
{
    device_->add_drops(deadline_in(1s));
    return counted([&](const port_layout& shared) { return stats_of(shared, port_direction::rx); });
}

port_stats port::tx_stats() const noexcept
{
    return counted([&](const port_layout& shared) { return stats_of(shared, port_direction::tx); });
}

bool port::reset_stats() noexcept
{
    device_->add_drops(deadline_in(1s));
    return with_port_still([&] {
        for (std::uint16_t i = 0; i != rx_queues_; ++i)
            reset(layout_->rx[i]);
        for (std::uint16_t i = 0; i != tx_queues_; ++i)
            reset(layout_->tx[i]);
    });
}

bool port::rx_ended(std::uint16_t queue) const noexcept
{
    if (queue >= rx_queues_)
        return false;
    bool ended = false;
    const bool there =
        saw([&] { ended = layout_->rx[queue].ended.load(std::memory_order_acquire) != 0; });
    return !there || ended;
}

}  // namespace cohort
