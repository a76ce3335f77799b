// A member that produces into or consumes from the ring "woven" between two breakpoints, for tests
// that decide after each instruction which process does the next.
// Usage: weaver DOMAIN values|pointers|stack produce|consume INDEX COUNT BATCH. A producer sends
// COUNT elements, a consumer goes on until COUNT have been taken by all; up to BATCH at a time.

#include "cohort/secondary/secondary.hpp"
#include "fault/breakpoint.hpp"
#include "fault/weave_record.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <string>

namespace {

using namespace cohort;

constexpr std::size_t max_batch = 4;

struct part {
    std::uint64_t index;
    std::uint64_t count;
    std::size_t batch;
    test::weave_record& record;
};

/// 1 to `most`, another number each time.
std::size_t next_batch(std::uint64_t& state, std::size_t most) noexcept
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return 1 + (state >> 33) % most;
}

template <typename T>
T element(std::uint64_t value) noexcept
{
    if constexpr (std::is_pointer_v<T>)
        return reinterpret_cast<T>(value);
    else
        return value;
}

std::uint64_t value_of(std::uint64_t element) noexcept
{
    return element;
}
std::uint64_t value_of(const void* element) noexcept
{
    return reinterpret_cast<std::uint64_t>(element);
}

template <typename T, typename Put>
void produce(const part& mine, Put put)
{
    std::array<T, max_batch> batch{};
    auto state = mine.index;
    for (std::uint64_t sent = 0; sent != mine.count;) {
        const auto count =
            std::min<std::uint64_t>(next_batch(state, mine.batch), mine.count - sent);
        for (std::uint64_t i = 0; i != count; ++i)
            batch[i] = element<T>(test::woven_element(mine.index, sent + i + 1));
        sent += put(std::span<const T>{batch}.first(count));
    }
}

template <typename T, typename Take>
void consume(const part& mine, Take take)
{
    auto& record = mine.record;
    auto& own = record.by[mine.index];
    std::array<T, max_batch> batch{};
    auto state = mine.index;
    while (record.total.load(std::memory_order_relaxed) != mine.count) {
        const auto count = take(std::span{batch}.first(next_batch(state, mine.batch)));
        for (std::size_t i = 0; i != count; ++i)
            own.elements[own.count++ % test::max_woven] = value_of(batch[i]);
        record.total.fetch_add(count, std::memory_order_relaxed);
    }
}

template <typename T, typename Put, typename Take>
void play(bool produces, const part& mine, Put put, Take take)
{
    test::say("ready");
    static_cast<void>(test::hear());
    test::breakpoint();
    if (produces)
        produce<T>(mine, put);
    else
        consume<T>(mine, take);
    test::breakpoint();
}

template <typename T>
void play_ring(domain& in, bool produces, const part& mine)
{
    auto ring = in.find_ring<T>("woven").value();
    play<T>(
        produces, mine, [&](std::span<const T> batch) { return ring.enqueue_burst(batch); },
        [&](std::span<T> batch) { return ring.dequeue_burst(batch); });
}

void play_stack(domain& in, bool produces, const part& mine)
{
    auto stack = in.find_stack<std::uint64_t>("woven").value();
    play<std::uint64_t>(
        produces, mine,
        [&](std::span<const std::uint64_t> batch) { return stack.push_burst(batch); },
        [&](std::span<std::uint64_t> batch) { return stack.pop_burst(batch); });
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 7)
        return 2;
    const std::string kind = argv[2];
    const bool produces = std::string{argv[3]} == "produce";
    const auto domain = secondary::attach(argv[1], 10s, argv[3] + std::string{argv[4]});
    static_cast<void>(domain->members().lane());
    const auto record = domain->find_memzone("record");
    const part mine{.index = std::stoul(argv[4]),
                    .count = std::stoul(argv[5]),
                    .batch = std::min<std::size_t>(std::stoul(argv[6]), max_batch),
                    .record = *reinterpret_cast<test::weave_record*>(record.data())};
    if (kind == "values")
        play_ring<std::uint64_t>(*domain, produces, mine);
    else if (kind == "pointers")
        play_ring<void*>(*domain, produces, mine);
    else
        play_stack(*domain, produces, mine);
    return 0;
}
