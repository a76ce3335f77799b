#include "cohort/recovery/audit.hpp"

#include "audit_structures.hpp"
#include "cohort/base/clock.hpp"
#include "cohort/recovery/object_view.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>

namespace cohort {
namespace {

/// Where one object was found in one scan.
struct object_state {
    std::uint8_t times = 0;     ///< listed in a ring or cache
    bool reachable = false;     ///< behind the head of a chain that is somewhere
    std::uint32_t clones = 0;   ///< attached to it
    std::uint32_t seen_at = 0;  ///< its place there: a position, or an index
};

/// Whether the entry has a port, or may have had one whose device does not let go.
bool is_port(const memory_layout& memory, std::uint16_t entry)
{
    return entry == custody::no_port ||
           (entry < memory.zone_count && memory.zones[entry].kind == zone_kind::port &&
            memory.zones[entry].word().state != zone_state::empty);
}

class scan {
public:
    explicit scan(const audited_region& region) : region_{region}, views_{region.memory}
    {
        for (auto& view : views_.pools())
            states_.emplace_back(view.count);
    }

    void run()
    {
        find_structure_faults(region_, views_.pools(), findings);
        list_rings_and_caches();
        follow_chains();
        count_clones();
        place_objects();
    }

    std::vector<pool_audit> pools;
    finding_set findings;

private:
    object_state* state_of(std::uint64_t handle)
    {
        const auto place = views_.find(handle);
        if (!place.view)
            return nullptr;
        return &states_[static_cast<std::size_t>(place.view - views_.pools().data())][place.index];
    }

    void list(std::uint64_t handle, std::string_view where, std::uint32_t at);
    void list_rings_and_caches();
    void follow_chains();
    void count_clones();
    void place_objects();
    void place(const pool_view& view, std::uint32_t object, const object_state& state,
               pool_audit& sums);

    const audited_region& region_;
    object_views views_;
    std::vector<std::vector<object_state>> states_;
    std::map<const ring_layout*, std::uint32_t> handles_in_ring_;
};

void scan::list(std::uint64_t handle, std::string_view where, std::uint32_t at)
{
    auto* state = state_of(handle);
    if (!state) {
        findings.insert({fmt::format("{} holds {:#x}, which is no buffer", where, handle), handle});
        return;
    }
    // One that travels may be seen twice in each scan, but its next time around is at other places.
    if (++state->times > 1)
        findings.insert({fmt::format("buffer {:#x} is in {} and in one more place", handle, where),
                         std::uint64_t{state->seen_at} << 32 | at});
    state->seen_at = at;
}

void scan::list_rings_and_caches()
{
    views_.for_each_custody_ring([&](const memzone_layout& zone, const ring_layout& ring) {
        const auto where = fmt::format("ring \"{}\"", zone.name.view());
        auto position = ring.consumer.load().position;
        for_each_handle(ring, [&](std::uint64_t handle) {
            list(handle, where, position++);
            ++handles_in_ring_[&ring];
        });
    });
    for (const auto& view : views_.pools()) {
        for (lane_id lane = 1; lane != max_lanes; ++lane) {
            const auto& cache = view.pool->cache(lane);
            const auto length = std::min(cache.length.load(std::memory_order_acquire),
                                         2 * view.pool->flush_threshold);
            const auto where = fmt::format("the cache of lane {}", lane);
            for (std::uint32_t i = 0; i != length; ++i)
                list(peek_cached(cache, i), where, i);
        }
    }
}

void scan::follow_chains()
{
    for (const auto& view : views_.pools()) {
        if (view.pool->kind != pool_kind::pktmbuf)
            continue;
        for (std::uint32_t i = 0; i != view.count; ++i) {
            if (custody::is_follower(custody_of(*view.pool, i)))
                continue;
            const auto* segment = static_cast<const mbuf*>(view.pool->handle(i));
            // Not up to nb_segs, which may not count yet what is linked already.
            while ((segment = peek_next(*segment)) != nullptr) {
                auto* state = state_of(reinterpret_cast<std::uint64_t>(segment));
                if (!state || state->reachable)
                    break;
                state->reachable = true;
            }
        }
    }
}

void scan::count_clones()
{
    for (const auto& view : views_.pools()) {
        if (view.pool->kind != pool_kind::pktmbuf)
            continue;
        for (std::uint32_t i = 0; i != view.count; ++i) {
            const auto share = peek_share(*static_cast<const mbuf*>(view.pool->handle(i)));
            if ((share & 3) != 2)
                continue;
            if (auto* shown = state_of(share & ~std::uint64_t{3}))
                ++shown->clones;
            else
                findings.insert({fmt::format("buffer {} of pool \"{}\" shows {:#x}, which is no "
                                             "buffer",
                                             i, view.zone->name.view(), share),
                                 share});
        }
    }
}

void scan::place(const pool_view& view, std::uint32_t object, const object_state& state,
                 pool_audit& sums)
{
    const auto word = custody_of(*view.pool, object);
    reference_word count;
    if (view.pool->kind == pool_kind::pktmbuf)
        if (const auto share = peek_share(*static_cast<const mbuf*>(view.pool->handle(object)));
            (share & 1) != 0)
            count.bits = share;
    if (count.clones() != state.clones)
        findings.insert(
            {fmt::format("buffer {} of pool \"{}\" has {} clones, and its count says {}", object,
                         sums.name, state.clones, count.clones()),
             count.bits});
    if (state.times != 0 && !count.has_handle())
        findings.insert({fmt::format("buffer {} of pool \"{}\" is in a ring or cache though its "
                                     "handle is gone",
                                     object, sums.name),
                         count.bits});
    const auto holder = custody::member_of(word);
    if (state.times != 0)
        return;
    if (!count.has_handle() && count.clones() != 0)
        ++sums.shared;
    else if (custody::is_follower(word) && state.reachable)
        ++sums.followers;
    else if (!custody::is_follower(word) &&
             (holder == custody::waiting || holder == custody::waiting_external))
        ++sums.waiting;
    else if (custody::is_at_device(word) && is_port(region_.memory, custody::ring_of(word)))
        ++sums.at_devices;
    else if (!custody::is_follower(word) && holder == custody::kept)
        ++sums.kept;
    else if (!custody::is_follower(word) && holder_lives(region_.members, word))
        ++sums.held;
    else
        findings.insert({fmt::format("buffer {} of pool \"{}\" is in no ring and no cache, and "
                                     "its custody word {:#x} names no live member",
                                     object, sums.name, word),
                         word}),
            ++sums.unexplained;
}

void scan::place_objects()
{
    for (std::size_t p = 0; p != views_.pools().size(); ++p) {
        const auto& view = views_.pools()[p];
        pool_audit sums{.name = std::string{view.zone->name.view()}, .count = view.count};
        sums.in_pool = handles_in_ring_[&view.pool->backing()];
        for (lane_id lane = 1; lane != max_lanes; ++lane)
            sums.cached += view.pool->cache(lane).length.load(std::memory_order_acquire);
        std::uint32_t listed = 0;
        for (std::uint32_t i = 0; i != view.count; ++i) {
            const auto& state = states_[p][i];
            listed += state.times != 0 ? 1 : 0;
            place(view, i, state, sums);
        }
        const auto elsewhere = sums.free();
        sums.in_rings = listed > elsewhere ? listed - elsewhere : 0;
        pools.push_back(std::move(sums));
    }
}

constexpr auto pause_between_scans = 20ms;  // for who was preempted in the middle of a move

}  // namespace

audit_report audit(const audited_region& region, int scans)
{
    audit_report report;
    finding_set constant;
    for (int i = 0; i == 0 || (i < scans && !constant.empty()); ++i) {
        if (i != 0)
            std::this_thread::sleep_for(pause_between_scans);
        scan pass{region};
        pass.run();
        finding_set still;
        std::set_intersection(constant.begin(), constant.end(), pass.findings.begin(),
                              pass.findings.end(), std::inserter(still, still.end()));
        constant = i == 0 ? pass.findings : still;
        report.pools = std::move(pass.pools);
    }
    for (const auto& [sentence, word] : constant)
        report.faults.push_back(sentence);
    return report;
}

std::vector<holding> holders(const audited_region& region, const memzone_layout& zone)
{
    object_views views{region.memory};
    views.mark_at_rest();
    std::map<std::pair<member_id, std::uint32_t>, holding> found;
    const auto entry = [&](member_id member, std::uint32_t generation) -> holding& {
        auto& held = found[{member, generation}];
        held.member = member;
        held.generation = generation;
        return held;
    };
    for (auto& view : views.pools()) {
        if (view.zone != &zone)
            continue;
        for (lane_id lane = 1; lane != max_lanes; ++lane) {
            const auto& cache = view.pool->cache(lane);
            const auto owner = region.members.lanes[lane].word().member;
            const auto length = std::min(cache.length.load(std::memory_order_acquire),
                                         2 * view.pool->flush_threshold);
            if (length == 0 || owner == 0 || owner >= max_members)
                continue;
            entry(owner, region.members.members[owner].word().generation).cached += length;
        }
        for_each_in_hand(view, [&](std::uint32_t, std::uint64_t word) {
            auto& held = entry(custody::member_of(word), static_cast<std::uint32_t>(word));
            ++(custody::is_received(word) ? held.received : held.fresh);
        });
    }
    std::vector<holding> all;
    for (const auto& [key, held] : found)
        all.push_back(held);
    return all;
}

}  // namespace cohort
