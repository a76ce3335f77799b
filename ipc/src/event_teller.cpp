#include "cohort/ipc/event_teller.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"

#include <utility>

#include <pthread.h>

namespace cohort::ipc {

void event_teller::add(event_handler hears, bool own_thread, std::function<void()> last_words)
{
    const std::lock_guard guard{mutex_};
    if (!watch_)
        watch_.emplace(region_);
    listeners_.reserve(listeners_.size() + 1);  // what throws, throws before anything is registered
    if (own_thread && !stops_ && !has_thread_) {
        thread_ = std::thread{[this, last_words = std::move(last_words)] { run(last_words); }};
        has_thread_ = true;
    }
    listeners_.push_back(std::move(hears));
}

void event_teller::note_reason(member_ref dead, const std::string& reason)
{
    const std::lock_guard guard{mutex_};
    if (watch_)
        watch_->note_reason(dead, reason);
}

std::uint64_t event_teller::lost() const
{
    const std::lock_guard guard{mutex_};
    return watch_ ? watch_->lost() : 0;
}

void event_teller::tell()
{
    {
        const std::lock_guard guard{mutex_};
        if (!watch_ || stops_)
            return;
        if (has_thread_) {
            is_due_ = true;
            changed_.notify_one();
            return;
        }
    }
    look_and_call();
}

void event_teller::look_and_call()
{
    std::vector<domain_event> found;
    std::vector<event_handler> listeners;
    {
        const std::lock_guard guard{mutex_};
        watch_->look([&](const domain_event& event) { found.push_back(event); });
        listeners = listeners_;
    }
    for (auto& event : found) {
        if (event.what == event_kind::member_died && event.reason.empty())
            event.reason = why_(event.member);
        for (const auto& hears : listeners) {
            if (stops())
                return;
            try {
                hears(event);
            } catch (...) {  // no reason to keep it from the others
                log(log_level::error, "a handler of events: {}", describe_thrown());
            }
        }
    }
}

bool event_teller::stops() const
{
    const std::lock_guard guard{mutex_};
    return stops_;
}

void event_teller::run(const std::function<void()>& last_words) noexcept
{
    ::pthread_setname_np(::pthread_self(), "events");
    for (;;) {
        {
            std::unique_lock guard{mutex_};
            changed_.wait(guard, [&] { return is_due_ || stops_; });
            if (stops_)
                break;
            is_due_ = false;
        }
        try {
            look_and_call();
        } catch (...) {  // of want of memory
            log(log_level::error, "events: {}", describe_thrown());
        }
    }
    last_words();
}

void event_teller::stop() noexcept
{
    {
        const std::lock_guard guard{mutex_};
        stops_ = true;
        changed_.notify_one();
    }
    if (thread_.joinable())
        thread_.join();
}

}  // namespace cohort::ipc
