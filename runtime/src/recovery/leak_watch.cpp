#include "cohort/recovery/leak_watch.hpp"

#include "cohort/packet/mbuf_history.hpp"
#include "cohort/recovery/object_view.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace cohort {

leak_watch::leak_watch(const audited_region& region, const memzone_layout& pool)
    : region_{region}
    , zone_{pool}
{
}

void leak_watch::look(std::uint64_t now_ns)
{
    object_views views{region_.memory};
    views.mark_at_rest();
    if (looks_++ == 0) {
        first_ns_ = now_ns;
        first_ticks_ = __builtin_ia32_rdtsc();
    }
    last_ns_ = now_ns;
    last_ticks_ = __builtin_ia32_rdtsc();
    for (const auto& view : views.pools()) {
        if (view.zone != &zone_)
            continue;
        std::vector<hand> now(view.count);
        for_each_in_hand(view, [&](std::uint32_t object, std::uint64_t word) {
            const auto before = object < hands_.size() ? hands_[object] : hand{};
            const bool same = before.since_ns != 0 && before.word == word;
            now[object] = {word, same ? before.since_ns : now_ns};
        });
        hands_ = std::move(now);
        return;
    }
    hands_.clear();  // the pool is no more
}

std::uint64_t leak_watch::age_of(std::uint32_t object) const
{
    const auto watched = last_ns_ - hands_[object].since_ns;
    const auto& pool = *static_cast<const mempool_layout*>(zone_.data());
    if (pool.history == 0 || last_ns_ == first_ns_)
        return watched;
    const auto known = history_of(*static_cast<const mbuf*>(pool.handle(object)));
    if (known.empty() || known.back().ticks >= last_ticks_)
        return watched;
    const auto ns_per_tick =
        static_cast<double>(last_ns_ - first_ns_) / static_cast<double>(last_ticks_ - first_ticks_);
    return static_cast<std::uint64_t>(static_cast<double>(last_ticks_ - known.back().ticks) *
                                      ns_per_tick);
}

std::vector<long_holding> leak_watch::held_longer_than(std::uint64_t age_ns) const
{
    std::map<std::pair<member_id, std::uint32_t>, long_holding> found;
    for (std::uint32_t object = 0; object != hands_.size(); ++object) {
        const auto& [word, since] = hands_[object];
        if (since == 0)
            continue;
        const auto age = age_of(object);
        if (age < age_ns)
            continue;
        const auto member = custody::member_of(word);
        const auto generation = static_cast<std::uint32_t>(word);
        auto& held = found[{member, generation}];
        held.member = member;
        held.generation = generation;
        ++held.buffers;
        held.oldest_ns = std::max(held.oldest_ns, age);
    }
    std::vector<long_holding> all;
    for (const auto& [key, held] : found)
        all.push_back(held);
    return all;
}

}  // namespace cohort
