#include "cohort/base/fault_point.hpp"
#include "cohort/ring/staged_ring.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace cohort {

std::size_t stage_bytes(std::uint32_t capacity, std::uint32_t stages) noexcept
{
    if (stages == 0)
        return 0;
    const auto slots = ring_slots(capacity, publication::in_stages);
    return stages * sizeof(stage_layout) +
           align_up(slots * sizeof(std::uint64_t), cache_line_bytes);
}

std::uint32_t advance_tail(const ring_layout& ring, std::uint32_t number) noexcept
{
    auto& stage = stage_of(ring, number);
    auto tail = stage.tail.load(std::memory_order_acquire);  // PASSED
    for (;;) {
        const auto position = static_cast<std::uint32_t>(tail);
        if (position == stage.head.load().position)  // HELD
            return position;
        const auto word =
            batch_word::unpack(batch_at(ring, position).load(std::memory_order_acquire));  // DONE
        if (!word.is_done() || !is_batch(ring, number, position, word))
            return position;
        if (stage.tail.compare_exchange_strong(tail, tail + word.count,
                                               std::memory_order_acq_rel,  // PASSED
                                               std::memory_order_acquire)) {
            tail += word.count;
            COHORT_FAULT_POINT("ring.passed");
            stage.bell.ring_if_armed();
        }
    }
}

namespace {

/// There are, or will be, batches that nobody holds.
void raise_abandoned(ring_layout& ring, std::uint32_t number) noexcept
{
    stage_of(ring, number).abandoned.fetch_add(1, std::memory_order_release);
    bell_before(ring, number).ring_if_armed();
}

}  // namespace

stage_counts count_stage(const ring_layout& ring, std::uint32_t number) noexcept
{
    stage_counts counts;
    for_each_batch(ring, number, [&](std::uint32_t, batch_word word) {
        (word.is_done()                      ? counts.done
         : word.holder == batch_word::nobody ? counts.abandoned
                                             : counts.held) += word.count;
        return true;
    });
    const auto head = stage_of(ring, number).head.load().position;
    const auto waiting = static_cast<std::int32_t>(detail::supplied(ring, number, head, 0));
    counts.waiting = static_cast<std::uint32_t>(std::max(waiting, 0));
    return counts;
}

stage_holder oldest_of(const ring_layout& ring, std::uint32_t number) noexcept
{
    stage_holder found;
    for_each_batch(ring, number, [&](std::uint32_t position, batch_word word) {
        if (word.is_done())
            return true;
        found = {word.holder, position, word.count, word.attempts};
        return false;
    });
    return found;
}

std::string stage_text(const ring_layout& ring, std::uint32_t number)
{
    const auto counts = count_stage(ring, number);
    const auto oldest = oldest_of(ring, number);
    auto text = fmt::format("  stage {}: {} waiting, {} held, {} abandoned, {} done", number,
                            counts.waiting, counts.held, counts.abandoned, counts.done);
    if (oldest.count != 0 && oldest.lane != 0)
        text += fmt::format("; lane {} holds the oldest {}, at {}", oldest.lane, oldest.count,
                            oldest.position);
    const auto& stage = stage_of(ring, number);
    text += fmt::format(", {} batches redelivered, {} stalls\n",
                        stage.redelivered.load(std::memory_order_relaxed),  // for display
                        stage.head.stalls.load(std::memory_order_relaxed));
    return text;
}

const char* find_stage_fault(const ring_layout& ring) noexcept
{
    if (ring.stages == 0 || ring.stages > max_stages)
        return "the number of stages cannot be";
    std::array<std::uint64_t, 2 * max_stages> seen{};
    const auto look = [&](std::uint32_t i) {
        auto& stage = stage_of(ring, i / 2);
        return i % 2 == 0 ? stage.head.load().pack() : stage.tail.load(std::memory_order_acquire);
    };
    for (std::uint32_t i = 0; i != 2 * ring.stages; ++i)
        seen[i] = look(i);
    const char* fault = nullptr;
    const auto consumer = ring.consumer.load().position;
    auto ahead = ring.producer.load().position - consumer;
    for (std::uint32_t i = 0; i != ring.stages; ++i) {
        const auto head = ring_word::unpack(seen[2 * i]).position;
        const auto tail = static_cast<std::uint32_t>(seen[2 * i + 1]);
        if (head - consumer > ahead || tail - consumer > head - consumer)
            fault = "the ends of the stages are not in order";
        ahead = tail - consumer;
        const auto end = for_each_batch(ring, i, [&](std::uint32_t, batch_word word) {
            if (word.holder > batch_word::done)
                fault = "a batch names a lane that cannot exist";
            return true;
        });
        if (!fault && end != head)
            fault = "the batches of a stage do not lie one behind the other";
    }
    // What moved meanwhile says nothing.
    for (std::uint32_t i = 0; i != 2 * ring.stages; ++i)
        if (look(i) != seen[i])
            return nullptr;
    return ring.consumer.load().position == consumer ? fault : nullptr;
}

namespace {

/// Takes a batch from a holder that is dead or left. False when it is not as it was seen.
bool abandon(const ring_layout& ring, std::uint32_t position, batch_word held) noexcept
{
    auto seen = held.pack();
    const bool taken = batch_at(ring, position)
                           .compare_exchange_strong(seen, held.of(batch_word::nobody).pack(),
                                                    std::memory_order_acq_rel);  // DONE
    COHORT_FAULT_POINT("ring.abandoned");
    return taken;
}

}  // namespace

void scrub_stage(ring_layout& ring, std::uint32_t number, lane_id lane, lane_id me) noexcept
{
    auto& stage = stage_of(ring, number);
    scrub(ring, stage.head, lane, me);  // from here on the lane acquires nothing
    bool any = false;
    for_each_batch(ring, number, [&](std::uint32_t position, batch_word word) {
        if (word.holder == lane)
            static_cast<void>(abandon(ring, position, word));  // it may have been done meanwhile
        any = any || word.holder == lane || word.holder == batch_word::nobody;
        return true;
    });
    if (any)
        raise_abandoned(ring, number);
}

namespace detail {

bool is_oldest_lost(const ring_layout& ring, std::uint32_t stage, const membership& self) noexcept
{
    const auto oldest = oldest_of(ring, stage);
    return oldest.count != 0 && (oldest.lane == 0 || self.liveness().is_dead(oldest.lane));
}

held_batch hold_again(ring_layout& ring, std::uint32_t number, std::uint32_t position,
                      batch_word lost, std::uint32_t want, lane_id me) noexcept
{
    if (lost.holder != batch_word::nobody && !abandon(ring, position, lost))
        return {};
    lost = lost.of(batch_word::nobody);
    auto& stage = stage_of(ring, number);
    auto mine = lost.of(static_cast<std::uint8_t>(me));
    mine.count = static_cast<std::uint16_t>(std::min<std::uint32_t>(want, lost.count));
    mine.attempts = static_cast<std::uint8_t>(lost.attempts == 0xff ? 1 : lost.attempts + 1);
    if (mine.count != lost.count) {
        const auto left = static_cast<std::uint32_t>(lost.count - mine.count);
        auto rest = new_batch(ring, number, position + mine.count, left, batch_word::nobody);
        rest.attempts = lost.attempts;
        batch_at(ring, position + mine.count)
            .store(rest.pack(), std::memory_order_release);  // HELD
        COHORT_FAULT_POINT("ring.dividing");
        raise_abandoned(ring, number);
    }
    auto seen = lost.pack();
    if (!batch_at(ring, position)
             .compare_exchange_strong(seen, mine.pack(), std::memory_order_acq_rel))
        return {};
    stage.redelivered.fetch_add(1, std::memory_order_relaxed);  // a count
    return {position, mine};
}

held_batch acquire_again(ring_layout& ring, std::uint32_t number, std::uint32_t want,
                         membership& self) noexcept
{
    auto& stage = stage_of(ring, number);
    const auto claimed =
        claim(ring, stage.head, ring_mode::multi, self, [](std::uint32_t) { return 1u; });
    if (claimed.count == 0)
        return {};
    COHORT_FAULT_POINT("ring.acquiring_again");
    auto raised = stage.abandoned.load(std::memory_order_acquire);
    held_batch held;
    bool again = true;
    while (std::exchange(again, false))
        for_each_batch(ring, number, [&](std::uint32_t position, batch_word word) {
            const bool lost = word.holder == batch_word::nobody ||
                              (!word.is_done() && self.liveness().is_dead(word.holder));
            if (lost)
                held = hold_again(ring, number, position, word, want, self.lane());
            // The reaper, or its holder before it died, may have been quicker: then look again.
            again = lost && held.word.count == 0;
            return !lost;
        });
    if (held.word.count == 0)
        stage.abandoned.compare_exchange_strong(raised, 0, std::memory_order_relaxed);  // a hint
    commit(stage.head, ring_mode::multi, claimed, 0);
    return held;
}

bool let_go(ring_layout& ring, std::uint32_t stage, const held_batch& held,
            std::uint8_t to) noexcept
{
    auto seen = held.word.pack();
    if (!batch_at(ring, held.position)
             .compare_exchange_strong(seen, held.word.of(to).pack(), std::memory_order_release,
                                      std::memory_order_relaxed))  // DONE
        return false;
    if (to == batch_word::nobody)
        raise_abandoned(ring, stage);
    else
        static_cast<void>(advance_tail(ring, stage));
    return true;
}

}  // namespace detail

}  // namespace cohort
