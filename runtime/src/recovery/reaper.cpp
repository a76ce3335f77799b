#include "cohort/recovery/reaper.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/memory/heap_blocks.hpp"
#include "cohort/packet/mbuf_external.hpp"
#include "cohort/pool/pool_growth.hpp"
#include "cohort/port/port.hpp"
#include "cohort/recovery/buffer_recovery.hpp"
#include "cohort/recovery/device_buffers.hpp"
#include "cohort/ring/ring.hpp"
#include "cohort/ring/ring_zone.hpp"

namespace cohort {
namespace {

/// The recovery lock for a scope; `held()` is false when another live reaper has it.
class recovery_guard {
public:
    recovery_guard(owner_lock& lock, membership& self) : lock_{lock}
    {
        const auto me = self.lane();
        const auto ask = [&](lane_id lane) { return self.liveness().is_dead(lane); };
        // taken_over needs no repair: every step of the reaper is done again from the start.
        held_ = me != 0 && lock_.lock(me, deadline{}, ask) != lock_result::stalled;
    }
    ~recovery_guard()
    {
        if (held_)
            lock_.unlock();
    }
    recovery_guard(const recovery_guard&) = delete;
    recovery_guard& operator=(const recovery_guard&) = delete;
    [[nodiscard]] bool held() const noexcept { return held_; }

private:
    owner_lock& lock_;
    bool held_ = false;
};

/// What the dead were counting. Before anything else: a reaper that died left its own such word.
void settle_references(const member_table& table, member_id dying) noexcept
{
    for (lane_id lane = 1; lane != max_lanes; ++lane) {
        const auto& slot = table.lane(lane);
        const auto word = slot.word();
        const bool dead = slot.sentinel.owner_died() || word.state == lane_state::dead ||
                          (dying != 0 && word.state != lane_state::free && word.member == dying);
        if (dead)
            table.settle_references(lane);
    }
}

}  // namespace

void scrub_everywhere(memory_layout& layout, lane_id lane, lane_id me) noexcept
{
    for_each_live(layout, zone_kind::ring, [&](auto& zone) {
        if (auto* ring = ring_in(zone))
            scrub(*ring, lane, me);
    });
    for_each_live(layout, zone_kind::mempool, [&](auto& zone) {
        auto& pool = *static_cast<mempool_layout*>(zone.data());
        scrub(pool.backing(), lane, me);
        // What its holder had begun is nobody's, or has been listed: see pool_growth.hpp.
        static_cast<void>(pool.growing.release_of(lane));
    });
    for_each_live(layout, zone_kind::port,
                  [&](auto& zone) { scrub(*static_cast<port_layout*>(zone.data()), lane); });
}

/// The locks of memory and heaps cannot just be freed: what they guard is repaired first.
void reaper::repair_memory(lane_id dead)
{
    memory_.repair_after(dead, self_.who());
    for_each_live(memory_.layout(), zone_kind::heap, [&](auto& zone) {
        heap_blocks{*static_cast<heap_layout*>(zone.data()), memory_}.repair_after(dead,
                                                                                   self_.who());
    });
}

bool reaper::release_heap_blocks(member_ref dead)
{
    bool all = true;
    for_each_live(memory_.layout(), zone_kind::heap, [&](auto& zone) {
        heap_blocks heap{*static_cast<heap_layout*>(zone.data()), memory_};
        all = heap.release_mortal(dead.id, dead.generation, self_.who()) && all;
    });
    return all;
}

obituary_layout& reaper::obituary_of(member_ref dead, bool orderly) noexcept
{
    // A reaper that died half-way has begun one already.
    for (auto& begun : recovery_.obituaries)
        if (begun.number.load(std::memory_order_acquire) != 0 && begun.member == dead.id &&
            begun.generation == dead.generation)
            return begun;
    const auto number = recovery_.deaths.fetch_add(1, std::memory_order_relaxed) + 1;  // locked
    auto& fresh = recovery_.obituaries[(number - 1) % max_obituaries];
    fresh.number.store(0, std::memory_order_release);
    const auto& member = self_.members().member(dead.id);
    fresh.member = dead.id;
    fresh.generation = dead.generation;
    fresh.orderly = orderly;
    fresh.pid = member.pid;
    fresh.lanes = 0;
    fresh.name = member.name;
    fresh.found_ns = monotonic_ns();
    fresh.reaped_ns.store(0, std::memory_order_relaxed);  // published with the number
    fresh.entries_undone = 0;
    for (auto* counter :
         {&fresh.cached, &fresh.received, &fresh.released, &fresh.redelivered, &fresh.waiting})
        counter->store(0, std::memory_order_relaxed);  // published with the number
    fresh.number.store(number, std::memory_order_release);
    return fresh;
}

bool reaper::reap_locked(member_ref dead, bool orderly)
{
    auto& table = self_.members();
    const auto own_lane = self_.lane();
    settle_references(table, dead.id);
    table.external_waits().fetch_add(1,
                                     std::memory_order_acq_rel);  // it may have left one uncounted
    auto& obituary = obituary_of(dead, orderly);
    std::uint64_t cached = 0;
    std::uint32_t lanes = 0;

    table.for_each_lane_of(dead.id, [&](lane_id lane, lane_layout&, lane_word) {
        if (lane != own_lane && !table.mark_dead(lane, true))
            return;
        ++lanes;
        if (lane != own_lane) {
            scrub_everywhere(memory_.layout(), lane, own_lane);
            repair_memory(lane);
        }
        // What a cache lists carries the dead member's word: from here on it is found by that.
        for_each_live(memory_.layout(), zone_kind::mempool, [&](auto& zone) {
            auto& cache = static_cast<mempool_layout*>(zone.data())->cache(lane);
            cached += cache.length.exchange(0, std::memory_order_acq_rel);
        });
    });
    COHORT_FAULT_POINT("reaper.scrubbed");
    obituary.lanes = std::max(obituary.lanes, lanes);
    obituary.cached.fetch_add(cached, std::memory_order_relaxed);  // a count

    const auto holder = custody::holder(dead.id, dead.generation);
    take_back_from_devices(memory_.layout(), dead.id, holder);
    const auto [waiting, complete] =
        recover_buffers(memory_, table.layout(), recovery_, holder, obituary);
    obituary.waiting.fetch_add(waiting, std::memory_order_relaxed);  // a count
    if (!complete || !release_heap_blocks(dead))
        return false;
    heap_blocks::detach_everywhere(memory_.layout(), dead.id);
    if (before_burial_)
        before_burial_(dead);
    forget_dying_rings(memory_.layout(), dead.id);
    settle_chunks(memory_, dead.id, self_.who());
    obituary.entries_undone += memory_.undo_of(dead.id);
    memory_.give_back_idle(self_.who());
    COHORT_FAULT_POINT("reaper.recovered");

    table.for_each_lane_of(dead.id, [&](lane_id lane, lane_layout&, lane_word) {
        if (lane != own_lane)
            table.bury(lane, true);
    });
    obituary.reaped_ns.store(monotonic_ns(), std::memory_order_release);
    return true;
}

reaper::outcome reaper::reap(member_ref dead)
{
    auto& table = self_.members();
    if (!table.begin_death(dead))
        return outcome::done;
    const recovery_guard guard{recovery_.lock, self_};
    if (!guard.held())
        return outcome::busy;
    if (!table.begin_death(dead))  // reaped by another while this one waited for the lock
        return outcome::done;
    COHORT_FAULT_POINT("reaper.begun");
    if (!reap_locked(dead, false))
        return outcome::busy;
    table.finish_death(dead);
    const auto& obituary = obituary_of(dead, false);
    log(log_level::info,
        "member {} \"{}\" (pid {}) died: {} packets received ({} redelivered, {} wait), {} buffers "
        "released",
        dead.id, obituary.name.view(), obituary.pid, obituary.received.load(),
        obituary.redelivered.load(), obituary.waiting.load(), obituary.released.load());
    return outcome::done;
}

reaper::outcome reaper::leave()
{
    if (!self_.members().begin_death(self_.self()))
        return outcome::done;
    const recovery_guard guard{recovery_.lock, self_};
    if (!guard.held())
        return outcome::busy;
    return reap_locked(self_.self(), true) ? outcome::done : outcome::busy;
}

reaper::outcome reaper::reap_lanes()
{
    auto& table = self_.members();
    bool any = false;
    for (lane_id lane = 1; lane != max_lanes; ++lane)
        any = any || table.lane(lane).sentinel.owner_died();
    if (!any)
        return outcome::done;
    const recovery_guard guard{recovery_.lock, self_};
    if (!guard.held())
        return outcome::busy;
    settle_references(table, 0);
    for (lane_id lane = 1; lane != max_lanes; ++lane) {
        const auto word = table.lane(lane).word();
        const auto member = table.member(word.member).word();
        // With a dead or dying member the lane is the member's reaper's.
        if (word.state == lane_state::free || member.state != member_state::live ||
            !table.mark_dead(lane, false))
            continue;
        scrub_everywhere(memory_.layout(), lane, self_.lane());
        repair_memory(lane);
        table.bury(lane, false);
        recovery_.lanes_reaped.fetch_add(1, std::memory_order_relaxed);  // a count
    }
    return outcome::done;
}

reaper::outcome reaper::deliver_waiting()
{
    auto& external = self_.members().external_waits();
    auto some_wait = recovery_.some_wait.load(std::memory_order_acquire);
    const bool some_external = external.load(std::memory_order_acquire) != 0 && can_free_external();
    if (some_wait == 0 && !some_external)
        return outcome::done;
    const recovery_guard guard{recovery_.lock, self_};
    if (!guard.held())
        return outcome::busy;
    settle_references(self_.members(), 0);
    obituary_layout nobody;  // these packets have been counted with their dead holder
    // Cleared last: a reaper killed here leaves it set. What was given meanwhile has changed it.
    if (some_wait != 0) {
        const auto holder = custody::holder(custody::waiting, 0);
        if (recover_buffers(memory_, self_.members().layout(), recovery_, holder, nobody).waiting ==
            0)
            recovery_.some_wait.compare_exchange_strong(some_wait, 0, std::memory_order_acq_rel);
    }
    if (some_external)
        free_external(external, nobody);
    return outcome::done;
}

/// Any holder may add a buffer at any time, and counts that before and after. A count that has not
/// changed since before the walk says that nothing is left.
void reaper::free_external(std::atomic<std::uint32_t>& waits, obituary_layout& nobody)
{
    auto before = waits.load(std::memory_order_acquire);
    recover_buffers(memory_, self_.members().layout(), recovery_,
                    custody::holder(custody::waiting_external, 0), nobody);
    COHORT_FAULT_POINT("reaper.external");
    waits.compare_exchange_strong(before, 0, std::memory_order_acq_rel);
}

}  // namespace cohort
