#include "cohort/ring/ring.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/ring/stage_layout.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <thread>

namespace cohort {

std::size_t ring_slots(std::uint32_t capacity, publication how) noexcept
{
    const auto slots = std::bit_ceil(capacity);
    return how == publication::by_slot ? std::max(slots, detail::slots_per_line) : slots;
}

std::size_t ring_bytes(std::uint32_t capacity, std::uint32_t element_bytes,
                       publication how) noexcept
{
    return align_up(sizeof(ring_layout) + ring_slots(capacity, how) * element_bytes,
                    cache_line_bytes);
}

ring_layout& construct_ring(void* at, std::uint32_t capacity, std::uint32_t element_bytes,
                            publication how, std::int32_t custody_offset, std::uint16_t index,
                            const ring_options& options) noexcept
{
    const auto slots = static_cast<std::uint32_t>(ring_slots(capacity, how));
    auto& ring = *::new (at) ring_layout;
    ring.capacity = capacity;
    ring.mask = slots - 1;
    ring.element_bytes = element_bytes;
    ring.custody_offset = custody_offset;
    ring.index = index;
    ring.producer_mode = options.producers;
    ring.consumer_mode = options.consumers;
    ring.stall_limit_us = options.stall_limit_us;
    ring.published = how;
    ring.when_full = options.when_full;
    ring.parts = options.lane_ring_parts;
    ring.full_patience_us = options.full_patience_us;
    ring.watermark = options.watermark == 0 ? capacity : options.watermark;
    ring.mark_shift = static_cast<std::uint8_t>(63 - std::countr_zero(slots));
    ring.stages = options.stages;
    for (std::uint32_t stage = 0; stage != ring.stages; ++stage)
        ::new (&stage_of(ring, stage)) stage_layout;
    ring.magic = ring_layout::magic_value;
    return ring;
}

void rewind(ring_layout& ring, std::uint32_t position) noexcept
{
    const auto slots = detail::slots_of(ring);
    for (std::uint32_t i = 0; ring.published == publication::by_slot && i <= ring.mask; ++i)
        detail::store_slot(slots.at(position + i), slots.mark_at(position + i) ^ detail::slot_mark);
    for (auto* side : {&ring.producer, &ring.consumer}) {
        side->peer_seen.store(position, std::memory_order_relaxed);  // nobody else is here
        side->word.store(side->load().next(position, 0).pack(), std::memory_order_release);
    }
    for (std::uint32_t i = 0; i != ring.stages; ++i) {
        auto& stage = stage_of(ring, i);
        stage.tail.store(position, std::memory_order_relaxed);  // nobody else is here
        stage.head.word.store(stage.head.load().next(position, 0).pack(),
                              std::memory_order_release);
    }
}

namespace {

/// Of an idle ring: what lies between the sides is filled, all else is not.
const char* find_slot_fault(const ring_layout& ring, std::uint32_t consumer,
                            std::uint32_t held) noexcept
{
    const auto slots = detail::slots_of(ring);
    for (std::uint32_t i = 0; i <= ring.mask; ++i)
        if (slots.is_filled(consumer + i) != (i < held))
            return i < held ? "a slot between consumer and producer is not filled"
                            : "a slot that nobody has committed is filled";
    return nullptr;
}

}  // namespace

bool has_sound_header(const ring_layout& ring, std::size_t bytes) noexcept
{
    if (ring.magic != ring_layout::magic_value || ring.capacity == 0 ||
        ring.capacity > max_ring_capacity || ring.published > publication::in_stages ||
        ring.element_bytes == 0 || ring.element_bytes > bytes || ring.stages > max_stages ||
        (ring.stages != 0) != (ring.published == publication::in_stages))
        return false;
    const auto slots = ring_slots(ring.capacity, ring.published);
    return ring.mask == slots - 1 && ring.mark_shift == 63 - std::countr_zero(slots) &&
           ring_bytes(ring.capacity, ring.element_bytes, ring.published) +
                   stage_bytes(ring.capacity, ring.stages) <=
               bytes;
}

const char* find_fault(const ring_layout& ring) noexcept
{
    if (ring.magic != ring_layout::magic_value)
        return "the header does not start as a ring";
    if (ring.capacity == 0 || ring.capacity > max_ring_capacity ||
        ring.mask != ring_slots(ring.capacity, ring.published) - 1)
        return "capacity and mask disagree";
    const auto consumer = ring.consumer.load();
    const auto producer = ring.producer.load();
    if (producer.lane >= 128 || consumer.lane >= 128)
        return "a side names a lane that cannot exist";
    const auto held = producer.position - consumer.position;
    const bool at_work = ring.producer_mode == ring_mode::multi ? producer.lane != 0 : true;
    const auto* fault = static_cast<const char*>(nullptr);
    if (held > ring.capacity && !(at_work && static_cast<std::int32_t>(held) < 0))
        fault = "the producer is not between the consumer and one capacity ahead of it";
    else if (ring.published == publication::by_slot && producer.lane == 0)
        fault = find_slot_fault(ring, consumer.position, held);
    else if (ring.published == publication::in_stages)
        fault = find_stage_fault(ring);
    // What moved meanwhile says nothing.
    const bool idle = ring.consumer.load().pack() == consumer.pack() &&
                      ring.producer.load().pack() == producer.pack();
    return idle ? fault : nullptr;
}

bool is_published(const ring_layout& ring, std::uint32_t position) noexcept
{
    return ring.published == publication::by_slot && detail::slots_of(ring).is_filled(position);
}

std::uint64_t peek_word(const ring_layout& ring, std::uint32_t position) noexcept
{
    // A slot read here may be rewritten by a producer at the same time. Then the consumer side has
    // moved past it, the element's custody word has changed, and the caller, who compares that word
    // before and after the scan, ignores what was read.
    return detail::load_slot(detail::slots_of(ring).at(position)) & ~detail::slot_mark;
}

namespace {

/// What a dead producer has published of a batch stays; what it left behind a gap is emptied.
/// Returns the position behind its last element. For the claimant; may be done again.
std::uint32_t repair_batch(ring_layout& ring, std::uint32_t position) noexcept
{
    const auto slots = detail::slots_of(ring);
    const auto pending =
        ring.producer.pending.load(std::memory_order_relaxed);  // its last, or older
    std::uint32_t kept = 0;
    while (kept <= ring.mask && slots.is_filled(position + kept))
        ++kept;
    for (auto i = kept; i < pending && i <= ring.mask; ++i)
        if (slots.is_filled(position + i))
            detail::store_slot(slots.at(position + i),
                               slots.mark_at(position + i) ^ detail::slot_mark);
    return position + kept;
}

/// Takes a side from the dead lane in `seen`. Whoever looks meanwhile finds the claim of a live
/// one.
void take_over(ring_layout& ring, ring_side& side, ring_word seen, lane_id me) noexcept
{
    auto expected = seen.pack();
    const auto mine = seen.next(seen.position, me);
    if (!side.word.compare_exchange_strong(expected, mine.pack(), std::memory_order_acq_rel))
        return;
    COHORT_FAULT_POINT("ring.taken_over");
    const bool producer = &side == &ring.producer;
    const auto position = producer && ring.published == publication::by_slot
                              ? repair_batch(ring, seen.position)
                              : seen.position;
    side.word.store(mine.next(position, 0).pack(), std::memory_order_release);  // FILLED or FREED
    side.bell.ring_if_armed();
}

}  // namespace

void scrub(ring_layout& ring, ring_side& side, lane_id lane, lane_id me) noexcept
{
    if (const auto seen = side.load(); seen.lane == lane)
        take_over(ring, side, seen, me);
}

void scrub(ring_layout& ring, lane_id lane, lane_id me) noexcept
{
    scrub(ring, ring.producer, lane, me);
    scrub(ring, ring.consumer, lane, me);
    for (std::uint32_t stage = 0; stage != ring.stages; ++stage)
        scrub_stage(ring, stage, lane, me);
    for (auto* side : {&ring.producer, &ring.consumer})
        side->bell.ring_again();
    for (std::uint32_t stage = 0; stage != ring.stages; ++stage)
        stage_of(ring, stage).bell.ring_again();
}

std::size_t detail::drop_all(ring_layout& ring, membership& self) noexcept
{
    if (ring.custody_offset != no_custody)
        return 0;
    const auto held = claim(ring, ring.consumer, ring.consumer_mode, self,
                            [&](std::uint32_t position) { return ring.count_from(position); });
    if (held.count != 0)
        commit(ring.consumer, ring.consumer_mode, held, held.count);  // FREED
    return held.count;
}

bool detail::wait_for_claimant(ring_layout& ring, ring_side& side, ring_word seen, membership& self,
                               unsigned waits) noexcept
{
    constexpr std::chrono::microseconds default_stall_limit{ring_options{}.stall_limit_us};
    // Others win for so long only if somebody writes what no ring does. Of one claim: a thread has
    // no two that wait.
    thread_local steady_clock::time_point began;
    if (waits == 0)
        began = {};
    constexpr int spins = 64;
    constexpr int yields = 64;
    constexpr unsigned between_looks = 64;  // at the clock, by those who need not look
    for (int i = 0; i != spins; ++i) {
        if (side.load().pack() != seen.pack() && waits % between_looks != between_looks - 1)
            return true;
        cpu_relax();
    }
    const std::chrono::microseconds stall_limit{ring.stall_limit_us};
    const auto now = steady_clock::now();
    if (began == steady_clock::time_point{})
        began = now;
    constexpr unsigned few_waits = 8;  // of one who was stopped for long meanwhile
    if (waits >= few_waits && now - began > 4 * std::max(stall_limit, default_stall_limit)) {
        side.stalls.fetch_add(1, std::memory_order_relaxed);  // a count, orders nothing
        return false;
    }
    const auto mode = &side == &ring.producer   ? ring.producer_mode
                      : &side == &ring.consumer ? ring.consumer_mode
                                                : ring_mode::multi;  // a stage's
    const auto until = now + stall_limit;
    for (int round = 0;; ++round) {
        if (side.load().pack() != seen.pack())
            return true;
        if (self.liveness().is_dead(seen.lane)) {
            take_over(ring, side, seen, self.lane());
            return true;
        }
        if (mode == ring_mode::single) {
            side.refused.fetch_add(1, std::memory_order_relaxed);  // a count, orders nothing
            return false;
        }
        if (steady_clock::now() >= until) {
            side.stalls.fetch_add(1, std::memory_order_relaxed);  // a count, orders nothing
            return false;
        }
        if (round < yields)
            std::this_thread::yield();
        else
            std::this_thread::sleep_for(50us);  // no wake is ever sent: a waker may be dead
    }
}

}  // namespace cohort
