#include "lock_bench.hpp"

#include "cohort/member/robust_lock.hpp"
#include "cohort/primary/primary.hpp"
#include "pages.hpp"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include <pthread.h>

namespace cohort::bench {
namespace {

constexpr std::uint64_t pairs = 1'000'000;

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

/// Nanoseconds a pair, with so many threads, each on a processor of its own.
template <typename Lock>
double nanoseconds_a_pair(shared_locks& shared, Lock& lock, int threads)
{
    shared.guarded = 0;
    const auto work = [&] {
        for (std::uint64_t i = 0; i != pairs; ++i)
            add(shared, lock);
    };
    std::atomic<int> ready{1};
    std::thread other;
    if (threads == 2)
        other = std::thread{[&] {
            pin_to(1);
            ++ready;
            while (ready != threads + 1) {}
            work();
        }};
    while (ready != threads) {}
    ++ready;
    const auto before = std::chrono::steady_clock::now();
    work();
    if (other.joinable())
        other.join();
    const auto took = std::chrono::steady_clock::now() - before;
    const auto done = pairs * static_cast<std::uint64_t>(threads);
    if (shared.guarded != done)
        throw std::runtime_error{"a lock did not exclude"};
    return std::chrono::duration<double, std::nano>(took).count() / static_cast<double>(done);
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
