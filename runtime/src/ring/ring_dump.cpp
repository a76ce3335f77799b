#include "cohort/ring/ring_layout.hpp"
#include "cohort/ring/stage_layout.hpp"

#include <iterator>

#include <fmt/format.h>

namespace cohort {
namespace {

std::string_view policy_text(full_policy policy)
{
    switch (policy) {
    case full_policy::drop_new: return "drop_new";
    case full_policy::block: return "block";
    case full_policy::refuse: break;
    }
    return "refuse";
}

void dump_side(std::string& into, std::string_view which, const ring_side& side, ring_mode mode)
{
    const auto word = side.load();
    fmt::format_to(std::back_inserter(into), "  {}: {}, at {}, ", which,
                   mode == ring_mode::multi ? "multi" : "single", word.position);
    if (word.lane == 0)
        into += "free";
    else
        fmt::format_to(std::back_inserter(into), "lane {}", word.lane);
    fmt::format_to(std::back_inserter(into), ", {} stalls, {} refused\n",
                   side.stalls.load(std::memory_order_relaxed),  // for display
                   side.refused.load(std::memory_order_relaxed));
}

}  // namespace

std::string dump(const ring_layout& ring, std::string_view name)
{
    const auto count = ring.count();
    auto text = fmt::format(
        "ring \"{}\" at {}: {} of {} elements of {} bytes, {} free, published by {}\n", name,
        fmt::ptr(&ring), count, ring.capacity, ring.element_bytes, ring.capacity - count,
        ring.published == publication::in_stages   ? "index, in stages"
        : ring.published == publication::by_height ? "height"
        : ring.published == publication::by_slot   ? "slot"
                                                   : "index");
    dump_side(text, "producers", ring.producer, ring.producer_mode);
    for (std::uint32_t stage = 0; stage != ring.stages; ++stage)
        text += stage_text(ring, stage);
    dump_side(text, "consumers", ring.consumer, ring.consumer_mode);
    fmt::format_to(std::back_inserter(text), "  when full: {}, watermark {}, {} dropped\n",
                   policy_text(ring.when_full), ring.watermark,
                   ring.producer.dropped.load(std::memory_order_relaxed));  // for display
    if (const char* fault = find_fault(ring))
        fmt::format_to(std::back_inserter(text), "  fault: {}\n", fault);
    return text;
}

}  // namespace cohort
