#include "cohort/memory/memory_watch.hpp"

#include <algorithm>
#include <utility>

namespace cohort {

void memory_watch::on_event(listener added)
{
    const std::lock_guard guard{mutex_};
    listeners_.push_back(std::move(added));
}

void memory_watch::validate(validator added)
{
    const std::lock_guard guard{mutex_};
    validators_.push_back(std::move(added));
}

void memory_watch::clear()
{
    const std::lock_guard guard{mutex_};
    listeners_.clear();
    validators_.clear();
}

bool memory_watch::allows(const memory_growth& growth) const
{
    const std::lock_guard guard{mutex_};
    return std::all_of(validators_.begin(), validators_.end(),
                       [&](const auto& agrees) { return agrees(growth); });
}

void memory_watch::tell(const memory_event& event) const
{
    // Copied: a listener may register another one.
    const auto called = [&] {
        const std::lock_guard guard{mutex_};
        return listeners_;
    }();
    for (const auto& each : called)
        each(event);
}

}  // namespace cohort
