#include "cohort/member/reference_layout.hpp"

#include "cohort/base/fault_point.hpp"

#include <algorithm>

namespace cohort {

bool settle(lane_references (&all)[max_lanes], lane_id lane) noexcept
{
    auto& record = all[lane];
    const auto pending = record.pending.load(std::memory_order_acquire);
    if ((pending & 1) == 0)
        return false;
    const auto sequence = pending >> 1;
    const auto word_at = [](const std::atomic<std::uint64_t>& address) {
        return std::atomic_ref{
            *reinterpret_cast<std::uint64_t*>(address.load(std::memory_order_acquire))};
    };
    // The word first: if it names somebody else by now, SEEN was written before that.
    const reference_word word{word_at(record.counted).load(std::memory_order_acquire)};
    const bool done =
        (word.lane() == lane && word.sequence() == sequence) ||
        std::any_of(std::begin(all), std::end(all), [&](const lane_references& other) {
            return other.seen[lane].load(std::memory_order_acquire) == sequence;  // SEEN
        });
    if (done)
        word_at(record.target)
            .store(record.value.load(std::memory_order_acquire), std::memory_order_release);
    COHORT_FAULT_POINT("reference.settled");
    record.end(sequence);
    return true;
}

}  // namespace cohort
