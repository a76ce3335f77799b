#pragma once
// What both processes of a ring measurement do, written once for every ring. A ring is a type with
//   explicit Ring(void* at)
//   std::size_t enqueue(void* const* items, std::size_t count)    burst
//   std::size_t dequeue(void** items, std::size_t count)
// so that each loop is compiled together with the ring it drives.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <immintrin.h>

namespace cohort::bench {

enum class regime : std::uint32_t {
    paced,    ///< the consumer asks for more than a burst and takes what is there: it keeps up
    backlog,  ///< the ring stays about half full
    /// More processes than processors: who finds nothing to do yields. For so long, or until all is
    /// sent: producers of plain rte_ring that wait for each other pass one burst a time slice.
    crowd,
};

inline constexpr std::uint32_t ring_capacity = 1024;
inline constexpr std::size_t most_at_once = 128;
inline constexpr std::size_t most_consumers = 4;
inline constexpr std::uint32_t most_producers = 3;

struct alignas(64) progress {
    std::atomic<std::uint64_t> count{0};
    std::uint64_t sum = 0;  ///< of the pointers, as numbers
};

/// One round, in memory that all its processes share.
struct alignas(64) ring_round {
    std::uint32_t kind = 0;  ///< index into the table of rings
    regime pace{};
    std::uint32_t burst = 0;
    std::uint32_t producers = 1;
    std::uint32_t consumers = 1;
    std::uint64_t each = 0;  ///< elements a producer sends
    void* ring = nullptr;
    void* back = nullptr;     ///< of a round trip
    void* payload = nullptr;  ///< of a round trip: 64 bytes

    alignas(64) std::atomic<std::uint32_t> ready{0};
    alignas(64) std::atomic<std::uint32_t> started{0};
    alignas(64) std::atomic<std::uint32_t> finished{0};
    progress sent;
    std::array<progress, most_consumers> got;
    /// What each producer has sent, and one more, once it is done.
    std::array<std::atomic<std::uint64_t>, most_producers> done{};

    /// What all have sent; not to be reached until all are done.
    [[nodiscard]] std::uint64_t sent_by_all() const noexcept
    {
        std::uint64_t all = 0;
        for (std::uint32_t who = 0; who != producers; ++who) {
            const auto one = done[who].load(std::memory_order_acquire);
            if (one == 0)
                return std::numeric_limits<std::uint64_t>::max();
            all += one - 1;
        }
        return all;
    }
    [[nodiscard]] std::uint64_t taken() const noexcept
    {
        std::uint64_t all = 0;
        for (const auto& each_one : got)
            all += each_one.count.load(std::memory_order_acquire);
        return all;
    }
};

/// A ring that can be measured.
struct ring_kind {
    std::string name;  ///< ours, dpdk, dpdk_hts ...
    std::string mode;  ///< SP/SC or MP/MC
    void (*make)(void* at);
    void (*produce)(ring_round& round, std::uint32_t who);
    void (*consume)(ring_round& round, std::uint32_t who);
    void (*pairs)(ring_round& round);                               ///< by one thread
    void (*ask)(ring_round& round, std::uint32_t* cycles_of_each);  ///< round trips
    void (*answer)(ring_round& round);
};

namespace detail {

inline constexpr std::uint64_t valve_step = 64;
inline constexpr std::chrono::seconds most_time_in_a_crowd{2};
inline constexpr std::uint32_t bursts_between_looks = 16;

inline void wait(regime pace)
{
    if (pace == regime::crowd)
        std::this_thread::yield();
    else
        _mm_pause();
}

template <typename Ring>
void produce(ring_round& round, std::uint32_t who)
{
    Ring ring{round.ring};
    std::array<void*, most_at_once> items{};
    auto valve = valve_step;
    const auto until = std::chrono::steady_clock::now() + most_time_in_a_crowd;
    std::uint64_t sent = 0;
    for (std::uint32_t bursts = 1; sent < round.each; ++bursts) {
        if (round.pace == regime::crowd && bursts % bursts_between_looks == 0 &&
            std::chrono::steady_clock::now() > until)
            break;
        for (std::uint32_t i = 0; i != round.burst; ++i)
            items[i] = reinterpret_cast<void*>(std::uint64_t{who} << 40 | (sent + i));
        for (std::size_t done = 0; done != round.burst;) {
            const auto moved = ring.enqueue(items.data() + done, round.burst - done);
            done += moved;
            if (moved == 0)
                wait(round.pace);
        }
        sent += round.burst;
        if (round.pace != regime::backlog || sent < valve)
            continue;
        valve = sent + std::max<std::uint64_t>(valve_step, round.burst);
        round.sent.count.store(sent, std::memory_order_release);
        while (sent - round.got[0].count.load(std::memory_order_acquire) > ring_capacity * 5 / 8)
            _mm_pause();
    }
    if (round.pace == regime::backlog)
        round.sent.count.store(round.each, std::memory_order_release);
    round.done[who].store(sent + 1, std::memory_order_release);
}

template <typename Ring>
void consume(ring_round& round, std::uint32_t who)
{
    Ring ring{round.ring};
    std::array<void*, most_at_once> items{};
    const auto total = round.each * round.producers;
    const auto most = round.pace == regime::paced ? most_at_once : round.burst;
    auto& mine = round.got[who];
    std::uint64_t sum = 0;
    std::uint64_t got = 0;
    auto valve = valve_step;
    const auto ahead = [&] { return round.sent.count.load(std::memory_order_acquire) - got; };
    if (round.pace == regime::backlog)
        while (ahead() < ring_capacity / 2)
            _mm_pause();
    for (;;) {
        const auto moved = ring.dequeue(items.data(), most);
        for (std::size_t i = 0; i != moved; ++i)
            sum += reinterpret_cast<std::uint64_t>(items[i]);
        got += moved;
        if (moved == 0 || got == total) {
            mine.sum = sum;
            mine.count.store(got, std::memory_order_release);
            if (round.taken() == (round.pace == regime::crowd ? round.sent_by_all() : total))
                return;
            wait(round.pace);
        } else if (round.pace == regime::backlog && got >= valve) {
            valve = got + std::max<std::uint64_t>(valve_step, round.burst);
            mine.count.store(got, std::memory_order_release);
            while (ahead() < ring_capacity * 3 / 8 && got + ahead() != total)
                _mm_pause();
        }
    }
}

template <typename Ring>
void pairs(ring_round& round)
{
    Ring ring{round.ring};
    std::array<void*, most_at_once> items{};
    for (std::uint64_t done = 0; done < round.each; done += round.burst) {
        static_cast<void>(ring.enqueue(items.data(), round.burst));
        std::atomic_signal_fence(std::memory_order_seq_cst);
        static_cast<void>(ring.dequeue(items.data(), round.burst));
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
}

/// Hands the payload over and waits for it to come back; both sides read and write all of it.
inline void touch(std::uint64_t* payload) noexcept
{
    for (int i = 0; i != 8; ++i)
        ++payload[i];
}

template <typename Ring>
void ask(ring_round& round, std::uint32_t* cycles_of_each)
{
    Ring there{round.ring};
    Ring back{round.back};
    for (std::uint64_t i = 0; i != round.each; ++i) {
        const auto start = __rdtsc();
        void* item = round.payload;
        touch(static_cast<std::uint64_t*>(item));
        while (there.enqueue(&item, 1) == 0)
            _mm_pause();
        while (back.dequeue(&item, 1) == 0)
            _mm_pause();
        touch(static_cast<std::uint64_t*>(item));
        cycles_of_each[i] = static_cast<std::uint32_t>(__rdtsc() - start);
    }
}

template <typename Ring>
void answer(ring_round& round)
{
    Ring there{round.ring};
    Ring back{round.back};
    void* item = nullptr;
    for (std::uint64_t i = 0; i != round.each; ++i) {
        while (there.dequeue(&item, 1) == 0)
            _mm_pause();
        touch(static_cast<std::uint64_t*>(item));
        while (back.enqueue(&item, 1) == 0)
            _mm_pause();
    }
}

template <typename Ring>
ring_kind kind_of(std::string name, std::string mode)
{
    return {std::move(name), std::move(mode), Ring::make, produce<Ring>,
            consume<Ring>,   pairs<Ring>,     ask<Ring>,  answer<Ring>};
}

}  // namespace detail

/// Empty when the benchmarks were built without DPDK's headers.
[[nodiscard]] std::vector<ring_kind> dpdk_rings();
[[nodiscard]] std::vector<ring_kind> cohort_rings();

/// Bytes that any of them needs.
inline constexpr std::size_t ring_room = 64 * 1024;

}  // namespace cohort::bench
