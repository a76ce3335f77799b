#include "cohort/domain/lane_team.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include <pthread.h>
#include <sched.h>

namespace cohort {
namespace {

thread_local std::optional<unsigned> own_lcore;

/// Pins the calling thread. The kernel ignores processors that are not there or not allowed as long
/// as one is; here each must be.
void pin_to(const lcore& where)
{
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    for (const int cpu : where.cpus)
        CPU_SET(static_cast<std::size_t>(cpu), &wanted);
    const int refused = ::pthread_setaffinity_np(::pthread_self(), sizeof wanted, &wanted);
    cpu_set_t granted;
    CPU_ZERO(&granted);
    if (refused == 0)
        ::pthread_getaffinity_np(::pthread_self(), sizeof granted, &granted);
    for (const int cpu : where.cpus)
        if (!CPU_ISSET(static_cast<std::size_t>(cpu), &granted))
            throw error{errc::invalid_argument,
                        fmt::format("lcore {} is to run on processor {}, which this process may "
                                    "not use; name others (taskset -p shows them)",
                                    where.id, cpu)};
}

}  // namespace

class lane_team::worker {
public:
    worker(domain& shared, const lcore& where)
        : id_{where.id}
        , thread_{[this, &shared, where](std::stop_token stop) { run(shared, where, stop); }}
    {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [this] { return started_; });  // it starts or says why not
        if (failure_)
            std::rethrow_exception(failure_);
    }

    [[nodiscard]] unsigned id() const noexcept { return id_; }
    [[nodiscard]] lane_id lane() const noexcept { return lane_; }
    [[nodiscard]] state current_state() const
    {
        const std::lock_guard guard{mutex_};
        return state_;
    }
    void ask_to_stop() { thread_.request_stop(); }

    /// False while it is in use.
    [[nodiscard]] bool reserve()
    {
        const std::lock_guard guard{mutex_};
        if (state_ != state::idle)
            return false;
        state_ = state::working;
        return true;
    }
    void unreserve()
    {
        const std::lock_guard guard{mutex_};
        state_ = state::idle;
    }
    void begin(work todo)
    {
        const std::lock_guard guard{mutex_};
        todo_ = std::move(todo);
        changed_.notify_all();
    }

    [[nodiscard]] bool await_end(deadline until)
    {
        std::unique_lock lock{mutex_};
        return changed_.wait_until(lock, until, [this] { return state_ != state::working; });
    }
    [[nodiscard]] int take_result()
    {
        const std::lock_guard guard{mutex_};
        state_ = state::idle;
        if (const auto thrown = std::exchange(failure_, nullptr))
            std::rethrow_exception(thrown);
        return std::exchange(result_, 0);
    }

private:
    void run(domain& shared, const lcore& where, const std::stop_token& stop)
    {
        try {
            pin_to(where);
            const auto name = fmt::format("lcore-{}", where.id);
            ::pthread_setname_np(::pthread_self(), name.c_str());
            shared.enter_lane(name, where.cpus.size() == 1 ? where.cpus.front() : -1);
            own_lcore = where.id;
        } catch (...) {
            report_start(0, std::current_exception());
            return;
        }
        report_start(shared.members().lane(), nullptr);
        while (auto todo = next(stop))
            report_end(todo, stop);
        shared.leave_lane();
    }

    void report_start(lane_id lane, std::exception_ptr thrown)
    {
        const std::lock_guard guard{mutex_};
        lane_ = lane;
        failure_ = std::move(thrown);
        started_ = true;
        changed_.notify_all();
    }

    /// Empty when the team ends.
    work next(const std::stop_token& stop)
    {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, stop, [this] { return static_cast<bool>(todo_); });
        return std::exchange(todo_, nullptr);
    }

    void report_end(const work& todo, const std::stop_token& stop)
    {
        int result = 0;
        std::exception_ptr thrown;
        try {
            result = todo(stop);
        } catch (...) {
            thrown = std::current_exception();
        }
        const std::lock_guard guard{mutex_};
        result_ = result;
        failure_ = std::move(thrown);
        state_ = state::finished;
        changed_.notify_all();
    }

    const unsigned id_;
    mutable std::mutex mutex_;  // guards all below but thread_
    std::condition_variable_any changed_;
    bool started_ = false;
    lane_id lane_ = 0;  // fixed once started
    state state_ = state::idle;
    work todo_;
    int result_ = 0;
    std::exception_ptr failure_;
    std::jthread thread_;  // last: it uses all above
};

lane_team::lane_team(domain& shared, std::vector<lcore> lcores) : lcores_{std::move(lcores)}
{
    if (lcores_.empty())
        throw error{errc::invalid_argument, "a team needs at least one lcore; name it as in \"1\""};
    for (const auto& each : lcores_)
        workers_.push_back(std::make_unique<worker>(shared, each));
}

lane_team::~lane_team()
{
    for (const auto& each : workers_)
        each->ask_to_stop();
}

lane_team::worker& lane_team::find(unsigned lcore) const
{
    for (const auto& each : workers_)
        if (each->id() == lcore)
            return *each;
    throw error{errc::not_found,
                fmt::format("there is no lcore {} in the team {}; name one of them", lcore,
                            to_text(lcores_))};
}

void lane_team::launch(unsigned lcore, work todo)
{
    auto& chosen = find(lcore);
    if (!chosen.reserve())
        throw error{errc::in_use,
                    fmt::format("lcore {} is at work, or its last result has not been "
                                "taken; wait for it first",
                                lcore)};
    chosen.begin(std::move(todo));
}

void lane_team::launch_all(const work& todo)
{
    for (std::size_t i = 0; i != workers_.size(); ++i) {
        if (workers_[i]->reserve())
            continue;
        for (std::size_t reserved = 0; reserved != i; ++reserved)
            workers_[reserved]->unreserve();
        throw error{errc::in_use,
                    fmt::format("lcore {} is at work, or its last result has not been "
                                "taken; wait for it first",
                                workers_[i]->id())};
    }
    for (const auto& each : workers_)
        each->begin(todo);
}

std::optional<int> lane_team::wait(unsigned lcore, deadline until)
{
    auto& chosen = find(lcore);
    return chosen.await_end(until) ? std::optional{chosen.take_result()} : std::nullopt;
}

std::optional<std::vector<int>> lane_team::wait_all(deadline until)
{
    for (const auto& each : workers_)
        if (!each->await_end(until))
            return std::nullopt;
    std::vector<int> results;
    for (const auto& each : workers_)
        results.push_back(each->take_result());
    return results;
}

lane_team::state lane_team::state_of(unsigned lcore) const
{
    return find(lcore).current_state();
}

lane_id lane_team::lane_of(unsigned lcore) const
{
    return find(lcore).lane();
}

std::optional<unsigned> lane_team::current() noexcept
{
    return own_lcore;
}

}  // namespace cohort
