#include "cohort/ring/ring.hpp"

#include "cohort/base/clock.hpp"

#include <bit>
#include <new>
#include <thread>

namespace cohort {

std::size_t ring_bytes(std::uint32_t capacity, std::uint32_t element_bytes) noexcept
{
    const std::size_t slots = std::bit_ceil(capacity);
    return align_up(sizeof(ring_layout) + slots * element_bytes, cache_line_bytes);
}

ring_layout& construct_ring(void* at, std::uint32_t capacity, std::uint32_t element_bytes,
                            std::int32_t custody_offset, std::uint16_t index,
                            const ring_options& options) noexcept
{
    auto& ring = *::new (at) ring_layout;
    ring.capacity = capacity;
    ring.mask = std::bit_ceil(capacity) - 1;
    ring.element_bytes = element_bytes;
    ring.custody_offset = custody_offset;
    ring.index = index;
    ring.producer_mode = options.producers;
    ring.consumer_mode = options.consumers;
    ring.stall_limit_us = options.stall_limit_us;
    ring.magic = ring_layout::magic_value;
    return ring;
}

const char* find_fault(const ring_layout& ring) noexcept
{
    if (ring.magic != ring_layout::magic_value)
        return "the header does not start as a ring";
    if (ring.capacity == 0 || ring.capacity > max_ring_capacity ||
        ring.mask != std::bit_ceil(ring.capacity) - 1)
        return "capacity and mask disagree";
    const auto consumer = ring.consumer.load();
    const auto producer = ring.producer.load();
    // Read in this order the difference may only have grown, by less than one turn of work.
    if (producer.position - consumer.position > ring.capacity &&
        consumer.position == ring.consumer.load().position)
        return "the producer is more than one capacity ahead of the consumer";
    if (producer.lane >= 128 || consumer.lane >= 128)
        return "a side names a lane that cannot exist";
    return nullptr;
}

void scrub(ring_side& side, lane_id lane) noexcept
{
    const auto seen = side.load();
    auto expected = seen.pack();
    if (seen.lane == lane)
        side.word.compare_exchange_strong(expected, seen.next(seen.position, 0).pack(),
                                          std::memory_order_acq_rel);
}

void scrub(ring_layout& ring, lane_id lane) noexcept
{
    scrub(ring.producer, lane);
    scrub(ring.consumer, lane);
}

__attribute__((no_sanitize("thread"))) std::uint64_t peek_word(const ring_layout& ring,
                                                               std::uint32_t position) noexcept
{
    // A slot read here may be rewritten by a producer at the same time. Then the consumer side has
    // moved past it, the element's custody word has changed, and the caller, who compares that word
    // before and after the scan, ignores what was read.
    const auto* slot =
        reinterpret_cast<const std::uint64_t*>(ring.slots()) + (position & ring.mask);
    return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

bool detail::wait_for_claimant(ring_side& side, ring_word seen, ring_mode mode,
                               std::uint32_t stall_limit_us, const liveness_view& lanes) noexcept
{
    constexpr int spins = 64;
    constexpr int yields = 64;
    for (int i = 0; i != spins; ++i) {
        if (side.load().pack() != seen.pack())
            return true;
        cpu_relax();
    }
    const auto until = deadline_in(std::chrono::microseconds{stall_limit_us});
    for (int round = 0;; ++round) {
        if (side.load().pack() != seen.pack())
            return true;
        if (lanes.is_dead(seen.lane)) {
            auto expected = seen.pack();  // take-over: a claim of a dead lane has moved nothing
            side.word.compare_exchange_strong(expected, seen.next(seen.position, 0).pack(),
                                              std::memory_order_acq_rel);
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
