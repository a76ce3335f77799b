#include "ring_watch.hpp"

#include "cohort/base/clock.hpp"

#include <thread>

namespace cohort::detail {
namespace {

constexpr auto longest_sleep = 100ms;  // as a slice of the bell

}  // namespace

ring_source::ring_source(const port_queue_layout& queue, memory_layout& memory) noexcept
{
    const auto word = [&](std::size_t i) {
        return queue.aux[i].load(std::memory_order_relaxed);  // fixed at creation
    };
    zone_ = &memory.zones[word(queue_word::entry)];
    generation_ = static_cast<std::uint32_t>(word(queue_word::generation));
}

bool ring_source::is_there() const noexcept
{
    return zone_->is_there(generation_);
}

void ring_source::sleep(deadline until) const noexcept
{
    auto& ring = layout();
    const auto armed = ring.producer.bell.arm();
    if (ring.count() == 0)
        ring.producer.bell.sleep(armed, until);
}

ring_watch::ring_watch(const ring_source& ring)
    : thread_{[ring](const std::atomic<bool>&) {
                  if (!ring.is_there())
                      std::this_thread::sleep_for(longest_sleep);
                  else if (ring.layout().count() == 0)
                      ring.sleep(deadline_in(longest_sleep));
                  else
                      return event_thread::found::news;
                  return event_thread::found::nothing;
              },
              event_thread::begin::when_acknowledged}
{
}

}  // namespace cohort::detail
