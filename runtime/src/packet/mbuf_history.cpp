#include "cohort/packet/mbuf_history.hpp"

#include "cohort/packet/mbuf.hpp"

#include <algorithm>
#include <new>

namespace cohort {
namespace {

struct events_of_one {
    std::atomic_ref<std::uint64_t> count;
    history_event* events;
    std::uint32_t depth;
};

events_of_one events_of(const mbuf& buffer) noexcept
{
    const auto& pool = *buffer.pool;
    auto* table = reinterpret_cast<mbuf_history_layout*>(pool.history);
    auto* at = reinterpret_cast<std::byte*>(table + 1) +
               std::size_t{pool.index_of(reinterpret_cast<std::uint64_t>(&buffer))} * table->stride;
    return {std::atomic_ref{*reinterpret_cast<std::uint64_t*>(at)},
            reinterpret_cast<history_event*>(at + sizeof(std::uint64_t)), table->depth};
}

std::size_t stride_of(std::uint32_t depth) noexcept
{
    return sizeof(std::uint64_t) + depth * sizeof(history_event);
}

}  // namespace

std::size_t history_bytes(std::uint32_t count, std::uint32_t depth) noexcept
{
    return depth == 0 ? 0
                      : align_up(sizeof(mbuf_history_layout) + count * stride_of(depth),
                                 std::size_t{cache_line_bytes});
}

void construct_history(mempool_layout& pool, void* at, std::uint32_t depth) noexcept
{
    auto& table = *::new (at) mbuf_history_layout;
    table.depth = depth;
    table.stride = static_cast<std::uint32_t>(stride_of(depth));
    pool.history = reinterpret_cast<std::uint64_t>(at);
}

void detail::remember(mbuf& buffer, mbuf_event what) noexcept
{
    auto& self = membership_of(&buffer);
    const auto [count, events, depth] = events_of(buffer);
    const auto number = count.fetch_add(1, std::memory_order_relaxed);  // a place, orders nothing
    events[number % depth] = {__builtin_ia32_rdtsc(), self.self().id, self.lane(), what};
}

void mark(mbuf& buffer, std::uint16_t number) noexcept
{
    const auto first = static_cast<std::uint16_t>(mbuf_event::user);
    note(*buffer.pool, buffer, static_cast<mbuf_event>(first + number));
}

std::vector<history_event> history_of(const mbuf& buffer)
{
    if (buffer.pool->history == 0)
        return {};
    const auto [count, events, depth] = events_of(buffer);
    const auto number = count.load(std::memory_order_relaxed);  // for display
    std::vector<history_event> known;
    for (auto i = number - std::min<std::uint64_t>(number, depth); i != number; ++i)
        known.push_back(events[i % depth]);
    return known;
}

const char* name_of(mbuf_event what) noexcept
{
    switch (what) {
    case mbuf_event::none: return "none";
    case mbuf_event::alloc: return "alloc";
    case mbuf_event::free: return "free";
    case mbuf_event::attach: return "attach";
    case mbuf_event::detach: return "detach";
    case mbuf_event::let_go: return "let go";
    case mbuf_event::user: break;
    }
    return "user";
}

}  // namespace cohort
