#pragma once
// What the processes of a pool or packet measurement do, written once for both sides. A side is a
// type with
//   static void make()              the objects, by the first process
//   Side()                          finds them, in any process
//   bool get(void** objects, n)     of a plain pool of 64-byte objects, cache of 256
//   void put(void* const* objects, n)
//   packet* alloc()                 of a pool of packets, cache of 256
//   bool alloc(packet** packets, n)
//   void free(packet*), void free(packet** packets, n)
//   packet* clone(packet*), bool chain(packet* head, packet* tail)
//   std::uint64_t* data(packet*)    its first bytes, of which 64 are there
//   std::size_t hand(void* const* objects, n), take(void** objects, n)      through a ring
//   std::size_t send(void* const* packets, n), receive(void** packets, n)    through one there
//   std::size_t send_back(...), receive_back(...)                            and one back
//   std::size_t missing()           objects and packets that are in no pool
// so that each loop is compiled together with the side it drives.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <immintrin.h>

namespace cohort::bench {

inline constexpr std::uint32_t packet_count = 8191;  // one less than a power of two suits rte_ring
inline constexpr std::uint32_t packet_cache = 256;
inline constexpr std::uint32_t packet_ring_capacity = 1024;
inline constexpr std::size_t packet_burst = 32;
inline constexpr std::size_t object_bytes = 64;

/// What processes do together.
enum class errand : std::uint32_t {
    pass_objects,  ///< one gets, the other puts
    pipeline,      ///< there and back
    forward,       ///< made, changed and freed, by one process or split over two or three
};

/// One round, in memory that both processes share.
struct alignas(64) packet_round {
    std::uint32_t kind = 0;  ///< index into the table of sides
    errand what{};
    std::uint32_t processes = 2;
    std::uint64_t total = 0;
    alignas(64) std::atomic<std::uint32_t> ready{0};
    alignas(64) std::atomic<std::uint32_t> started{0};
    alignas(64) std::atomic<std::uint32_t> finished{0};
};

/// A side that can be measured. Each loop returns how often something was not as it must be: a call
/// that got nothing, or a packet that came back wrong. What fails is quick and must not count.
struct packet_kind {
    std::string name;  ///< ours, dpdk ...
    void (*make)();
    std::uint64_t (*objects)(std::uint64_t times, std::uint32_t burst);  ///< gets and puts
    std::uint64_t (*single)(std::uint64_t times);  ///< allocs and frees one packet
    std::uint64_t (*bulk)(std::uint64_t times);    ///< 32
    std::uint64_t (*clones)(std::uint64_t times);
    std::uint64_t (*chains)(std::uint64_t times);                  ///< of four
    std::uint64_t (*lead)(const packet_round& round);              ///< the first process
    void (*follow)(const packet_round& round, std::uint32_t who);  ///< the second, or third
    std::size_t (*missing)();  ///< objects and packets in no pool, when nobody is at work
};

namespace detail {

/// Takes turns, none of which the compiler may merge with the next. Returns how many failed.
template <typename Turn>
std::uint64_t failures(std::uint64_t times, Turn turn)
{
    std::uint64_t failed = 0;
    for (std::uint64_t i = 0; i != times; ++i) {
        failed += turn() ? 0u : 1u;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    return failed;
}

template <typename Side>
std::uint64_t objects(std::uint64_t times, std::uint32_t burst)
{
    Side side;
    std::array<void*, packet_burst> held{};
    return failures(times, [&] {
        const bool got = side.get(held.data(), burst);
        if (got)
            side.put(held.data(), burst);
        return got;
    });
}

template <typename Side>
std::uint64_t single(std::uint64_t times)
{
    Side side;
    return failures(times, [&] {
        auto* packet = side.alloc();
        if (packet)
            side.free(packet);
        return packet != nullptr;
    });
}

template <typename Side>
std::uint64_t bulk(std::uint64_t times)
{
    Side side;
    std::array<typename Side::packet*, packet_burst> held{};
    return failures(times, [&] {
        const bool got = side.alloc(held.data(), packet_burst);
        if (got)
            side.free(held.data(), packet_burst);
        return got;
    });
}

template <typename Side>
std::uint64_t clones(std::uint64_t times)
{
    Side side;
    auto* packet = side.alloc();
    const auto failed = failures(times, [&] {
        auto* copy = side.clone(packet);
        if (copy)
            side.free(copy);
        return copy != nullptr;
    });
    side.free(packet);
    return failed;
}

template <typename Side>
std::uint64_t chains(std::uint64_t times)
{
    Side side;
    std::array<typename Side::packet*, 4> held{};
    return failures(times, [&] {
        bool good = side.alloc(held.data(), held.size());
        for (std::size_t i = 1; good && i != held.size(); ++i)
            good = side.chain(held[0], held[i]);
        if (good)
            side.free(held[0]);
        return good;
    });
}

/// Where there are more processes than processors, the others must come to work.
inline void wait(const packet_round& round)
{
    if (round.processes > 2)
        std::this_thread::yield();
    else
        _mm_pause();
}

/// Sends all of a burst: the other process always takes.
template <typename Send>
void send_all(const packet_round& round, void* const* items, std::size_t count, Send send)
{
    for (std::size_t done = 0; done != count;) {
        const auto moved = send(items + done, count - done);
        done += moved;
        if (moved == 0)
            wait(round);
    }
}

/// Gets objects that the other process puts back. None may be there for a moment.
template <typename Side>
std::uint64_t hand_out(const packet_round& round)
{
    Side side;
    std::array<void*, packet_burst> held{};
    for (std::uint64_t sent = 0; sent != round.total;) {
        if (!side.get(held.data(), packet_burst)) {
            _mm_pause();
            continue;
        }
        send_all(round, held.data(), packet_burst,
                 [&](void* const* items, std::size_t n) { return side.hand(items, n); });
        sent += packet_burst;
    }
    return 0;
}

template <typename Side>
void take_back(const packet_round& round)
{
    Side side;
    std::array<void*, packet_burst> held{};
    for (std::uint64_t got = 0; got != round.total;) {
        const auto moved = side.take(held.data(), packet_burst);
        if (moved == 0)
            _mm_pause();
        else
            side.put(held.data(), moved);
        got += moved;
    }
}

inline constexpr std::size_t header_words = 8;  // 64 bytes

/// What the header of a packet holds, the nth to be sent.
inline std::uint64_t header_word(std::uint64_t n, std::size_t i) noexcept
{
    return n * header_words + i;
}

/// Writes the header of a burst of packets, of which the first is the nth to be sent.
template <typename Side>
void write_headers(Side& side, typename Side::packet* const* packets, std::uint64_t n)
{
    for (std::size_t k = 0; k != packet_burst; ++k) {
        auto* words = side.data(packets[k]);
        for (std::size_t i = 0; i != header_words; ++i)
            words[i] = header_word(n + k, i);
    }
}

/// What who gets packets does to them.
template <typename Side>
void change(Side& side, typename Side::packet* const* packets, std::size_t count)
{
    for (std::size_t i = 0; i != count; ++i) {
        auto* words = side.data(packets[i]);
        for (std::size_t k = 0; k != header_words; ++k)
            ++words[k];
    }
}

/// Writes a header into each packet, sends it, gets it back changed, looks at it and frees it.
/// Returns how many came back wrong, or out of their order.
template <typename Side>
std::uint64_t write_and_collect(const packet_round& round)
{
    Side side;
    using packet = typename Side::packet;
    constexpr std::uint64_t most_under_way = packet_ring_capacity / 2;
    std::array<packet*, packet_burst> held{};
    std::uint64_t sent = 0;
    std::uint64_t wrong = 0;
    for (std::uint64_t back = 0; back != round.total;) {
        if (sent != round.total && sent - back <= most_under_way &&
            side.alloc(held.data(), packet_burst)) {
            write_headers(side, held.data(), sent);
            sent += packet_burst;
            send_all(round, reinterpret_cast<void* const*>(held.data()), packet_burst,
                     [&](void* const* items, std::size_t n) { return side.send(items, n); });
        }
        const auto got = side.receive_back(reinterpret_cast<void**>(held.data()), packet_burst);
        if (got == 0)
            _mm_pause();
        for (std::size_t k = 0; k != got; ++k) {
            const auto* words = side.data(held[k]);
            std::uint64_t difference = 0;
            for (std::size_t i = 0; i != header_words; ++i)
                difference |= words[i] ^ (header_word(back, i) + 1);
            wrong += difference != 0 ? 1u : 0u;
            ++back;
        }
        side.free(held.data(), got);
    }
    return wrong;
}

template <typename Side>
void read_and_change(const packet_round& round)
{
    Side side;
    using packet = typename Side::packet;
    std::array<packet*, packet_burst> held{};
    for (std::uint64_t done = 0; done != round.total;) {
        const auto got = side.receive(reinterpret_cast<void**>(held.data()), packet_burst);
        if (got == 0) {
            _mm_pause();
            continue;
        }
        change(side, held.data(), got);
        send_all(round, reinterpret_cast<void* const*>(held.data()), got,
                 [&](void* const* items, std::size_t n) { return side.send_back(items, n); });
        done += got;
    }
}

/// Makes packets as a port would that has always received some; and forwards them if it is alone.
template <typename Side>
std::uint64_t forward_first(const packet_round& round)
{
    Side side;
    std::array<typename Side::packet*, packet_burst> held{};
    for (std::uint64_t sent = 0; sent != round.total;) {
        if (!side.alloc(held.data(), packet_burst)) {
            wait(round);
            continue;
        }
        write_headers(side, held.data(), sent);
        sent += packet_burst;
        if (round.processes == 1) {
            change(side, held.data(), packet_burst);
            side.free(held.data(), packet_burst);
            continue;
        }
        send_all(round, reinterpret_cast<void* const*>(held.data()), packet_burst,
                 [&](void* const* items, std::size_t n) { return side.send(items, n); });
    }
    return 0;
}

/// Of three, the second changes and the third frees; of two, the second does both.
template <typename Side>
void forward_on(const packet_round& round, std::uint32_t who)
{
    Side side;
    std::array<typename Side::packet*, packet_burst> held{};
    auto* const items = reinterpret_cast<void**>(held.data());
    for (std::uint64_t done = 0; done != round.total;) {
        const auto got =
            who == 1 ? side.receive(items, packet_burst) : side.receive_back(items, packet_burst);
        if (got == 0) {
            wait(round);
            continue;
        }
        if (who == 1)
            change(side, held.data(), got);
        if (who + 1 == round.processes)
            side.free(held.data(), got);
        else
            send_all(round, items, got,
                     [&](void* const* some, std::size_t n) { return side.send_back(some, n); });
        done += got;
    }
}

template <typename Side>
std::uint64_t lead(const packet_round& round)
{
    switch (round.what) {
    case errand::pass_objects: return hand_out<Side>(round);
    case errand::pipeline: return write_and_collect<Side>(round);
    case errand::forward: return forward_first<Side>(round);
    }
    return 0;
}

template <typename Side>
void follow(const packet_round& round, std::uint32_t who)
{
    switch (round.what) {
    case errand::pass_objects: return take_back<Side>(round);
    case errand::pipeline: return read_and_change<Side>(round);
    case errand::forward: return forward_on<Side>(round, who);
    }
}

template <typename Side>
std::size_t missing()
{
    return Side{}.missing();
}

template <typename Side>
packet_kind packet_kind_of(std::string name)
{
    return {std::move(name), Side::make,   objects<Side>, single<Side>, bulk<Side>,
            clones<Side>,    chains<Side>, lead<Side>,    follow<Side>, missing<Side>};
}

}  // namespace detail

/// Empty when the benchmarks were built without DPDK's headers.
[[nodiscard]] std::vector<packet_kind> dpdk_packets();
[[nodiscard]] std::vector<packet_kind> cohort_packets();

}  // namespace cohort::bench
