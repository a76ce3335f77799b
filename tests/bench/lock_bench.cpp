#include "lock_bench.hpp"

#include "cohort/member/robust_lock.hpp"
#include "cohort/primary/primary.hpp"
#include "pages.hpp"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include <pthread.h>

namespace cohort::bench {
namespace {

/// What all of them lie in, a line each.
struct shared_locks {
    robust_lock ours;
    alignas(cache_line_bytes) pthread_mutex_t robust;
    alignas(cache_line_bytes) pthread_mutex_t plain;
    alignas(cache_line_bytes) std::uint64_t guarded;
};

void must(int result)
{
    if (result != 0)
        throw std::runtime_error{"a mutex cannot be had"};
}

void make(pthread_mutex_t& mutex, int robustness)
{
    pthread_mutexattr_t how;
    must(::pthread_mutexattr_init(&how));
    must(::pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED));
    must(::pthread_mutexattr_setrobust(&how, robustness));
    must(::pthread_mutex_init(&mutex, &how));
    must(::pthread_mutexattr_destroy(&how));
}

void add(shared_locks& shared, robust_lock& lock)
{
    const robust_guard mine{lock, deadline::max()};
    shared.guarded += mine ? 1 : 0;
}

void add(shared_locks& shared, pthread_mutex_t& mutex)
{
    if (::pthread_mutex_lock(&mutex) == 0) {
        ++shared.guarded;
        ::pthread_mutex_unlock(&mutex);
    }
}

/// Adds until it is told to end; how often.
template <typename Lock>
std::uint64_t add_until(shared_locks& shared, Lock& lock, const std::atomic<bool>& end)
{
    std::uint64_t pairs = 0;
    for (; !end.load(std::memory_order_relaxed); ++pairs)
        add(shared, lock);
    return pairs;
}

/// Nanoseconds a pair, of all together, in so many threads, each on a processor of its own. All are
/// at it all the time: a pair after the others have ended would cost less.
template <typename Lock>
double nanoseconds_a_pair(shared_locks& shared, Lock& lock, int threads)
{
    shared.guarded = 0;
    std::atomic<int> ready{0};
    std::atomic<bool> begin{false};
    std::atomic<bool> end{false};
    std::atomic<std::uint64_t> pairs{0};
    std::vector<std::thread> all;
    for (int i = 0; i != threads; ++i)
        all.emplace_back([&, i] {
            pin_to(i);
            add(shared, lock);  // ours enters a lane
            ++ready;
            while (!begin) {}
            pairs += add_until(shared, lock, end) + 1;
        });
    while (ready != threads)
        std::this_thread::yield();
    const auto start = clock::now();
    begin = true;
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
    end = true;
    const auto took = microseconds_since(start) * 1e3;
    for (auto& each : all)
        each.join();
    if (shared.guarded != pairs)
        throw std::runtime_error{"a lock did not exclude"};
    return took / static_cast<double>(pairs);
}

}  // namespace

struct lock_stage::locks {
    std::unique_ptr<primary::owner> domain =
        primary::start({.name = "locks", .memory = 4_MiB, .huge = huge_policy::none});
    shared_locks& shared = domain->create<shared_locks>("locks");
};

lock_stage::lock_stage() : locks_{std::make_unique<locks>()}
{
    make(locks_->shared.robust, PTHREAD_MUTEX_ROBUST);
    make(locks_->shared.plain, PTHREAD_MUTEX_STALLED);
}

lock_stage::~lock_stage() = default;

std::vector<measurement> lock_stage::measurements()
{
    auto& shared = locks_->shared;
    std::vector<measurement> rows;
    for (const int threads : {1, 2}) {
        measurement row{.name = threads == 1 ? "lock, one thread" : "lock, two threads",
                        .unit = "ns"};
        row.ours = [&shared, threads] { return nanoseconds_a_pair(shared, shared.ours, threads); };
        row.peers.push_back({"robust mutex", [&shared, threads] {
                                 return nanoseconds_a_pair(shared, shared.robust, threads);
                             }});
        row.peers.push_back({"plain mutex", [&shared, threads] {
                                 return nanoseconds_a_pair(shared, shared.plain, threads);
                             }});
        row.pages = "4K";
        rows.push_back(std::move(row));
    }
    return rows;
}

}  // namespace cohort::bench
