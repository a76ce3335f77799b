#include "cohort/ring/ring_event.hpp"

namespace cohort {

ring_event::ring_event(ring_layout& ring, ring_waiter::what wanted, std::uint32_t need,
                       member_ref peer)
    : waiter_{ring, wanted, peer}
    , thread_{[this, need](const std::atomic<bool>& stop) {
                  const auto end = waiter_.wait(need, deadline_in(1h), stop);
                  if (end == wait_end::timed_out)
                      return event_thread::found::nothing;
                  if (end == wait_end::moved)
                      return event_thread::found::news;
                  peer_gone_.store(true, std::memory_order_release);
                  return event_thread::found::last;
              },
              event_thread::begin::at_once}
{
}

ring_event::~ring_event()
{
    thread_.stop([this] { waiter_.interrupt(); });
}

}  // namespace cohort
