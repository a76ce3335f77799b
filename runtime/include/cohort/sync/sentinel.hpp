#pragma once
/// A sentinel: the proof, given by the kernel, that one thread no longer runs.
///
/// Each lane has one. Its thread locks it when it enters and keeps it until it leaves. When the
/// thread ends in any other way the kernel walks the thread's robust list and sets
/// FUTEX_OWNER_DIED in the word; nobody else ever sets it.
///
/// The sentinels are the only pthread robust mutexes in the region. They are initialised once, when
/// the region is made, and never again: initialising a mutex that a dead thread's robust list still
/// names would corrupt that list.
///
/// *Thread safety*: `hold` and `let_go` belong to the lane's thread; everything else to anyone.
/// *When a process dies here*: a thread killed inside `hold` or `let_go` is on the kernel's
/// "operation pending" entry, so the word ends as owner-died or free, never as held.

#include "cohort/base/shared_type.hpp"

#include <atomic>
#include <cstdint>

#include <linux/futex.h>
#include <pthread.h>

namespace cohort {

class sentinel_layout {
public:
    /// Once per region, before anyone else can see it.
    void initialise() noexcept;

    /// Takes the sentinel for the calling thread. False when another live thread holds it.
    [[nodiscard]] bool hold() noexcept;

    /// Gives it up in an orderly way.
    void let_go() noexcept;

    /// True once the kernel has reported the holder's death. Reads one word and locks nothing: a
    /// look by trylock from another PID namespace could, killed half-way, mark a live owner dead.
    [[nodiscard]] bool owner_died() const noexcept { return (word() & FUTEX_OWNER_DIED) != 0; }

    /// True while a thread holds it, dead or alive.
    [[nodiscard]] bool is_held() const noexcept { return word() != 0; }

    /// Makes a dead sentinel free again. Idempotent. Only for the reaper of its lane, after the
    /// lane has been scrubbed from every structure.
    void recover() noexcept;

private:
    [[nodiscard]] std::uint32_t word() const noexcept
    {
        // ALIVE: the kernel's store at death is ordered after everything the thread had stored.
        return std::atomic_ref{
            reinterpret_cast<std::uint32_t&>(const_cast<int&>(mutex_.__data.__lock))}
            .load(std::memory_order_acquire);
    }

    pthread_mutex_t mutex_;
};

static_assert(shared_layout<sentinel_layout>);
static_assert(sizeof(sentinel_layout) == 40, "the glibc x86-64 mutex; part of the layout hash");

}  // namespace cohort
