#include "audit_structures.hpp"

#include "cohort/memory/heap_layout.hpp"
#include "cohort/pool/pool_growth.hpp"
#include "cohort/port/capture_layout.hpp"
#include "cohort/ring/stage_layout.hpp"

#include <algorithm>
#include <set>
#include <span>
#include <string_view>

#include <fmt/format.h>

namespace cohort {
namespace {

class structure_scan {
public:
    structure_scan(const audited_region& region, std::span<const pool_view> pools,
                   finding_set& findings)
        : region_{region}
        , pools_{pools}
        , findings_{findings}
    {
    }

    void run()
    {
        check_rings();
        check_pools();
        check_chunks();
        check_entries();
        check_heaps();
        check_ports();
        check_captures();
        check_lanes();
        check_claim("the memory lock", "", region_.memory.lock.holder());
        check_claim("the recovery lock", "", region_.recovery.lock.holder());
    }

private:
    void check_claim(const char* what, std::string_view name, lane_id lane);
    void check_rings();
    void check_stages(const memzone_layout& zone, const ring_layout& ring);
    void check_pools();
    void check_chunks();
    void check_entries();
    void check_heaps();
    void check_ports();
    void check_captures();
    void check_lanes();

    const audited_region& region_;
    std::span<const pool_view> pools_;
    finding_set& findings_;
    std::set<std::string_view> ports_;  ///< their names: no capture is left of another
};

void structure_scan::check_claim(const char* what, std::string_view name, lane_id lane)
{
    if (lane == 0)
        return;
    const bool known = lane < max_lanes;
    const auto word = known ? region_.members.lanes[lane].word() : lane_word{};
    if (!known || word.state == lane_state::free || word.state == lane_state::orphan)
        findings_.insert(
            {fmt::format("{} \"{}\" is claimed by lane {}, which is not in use", what, name, lane),
             word.generation});
}

void structure_scan::check_stages(const memzone_layout& zone, const ring_layout& ring)
{
    for (std::uint32_t stage = 0; stage != ring.stages; ++stage) {
        check_claim("a stage of the ring", zone.name.view(),
                    stage_of(ring, stage).head.load().lane);
        for_each_batch(ring, stage, [&](std::uint32_t, batch_word batch) {
            if (!batch.is_done())
                check_claim("a batch of the ring", zone.name.view(), batch.holder);
            return true;
        });
    }
}

void structure_scan::check_rings()
{
    for_each_live(region_.memory, zone_kind::ring, [&](const memzone_layout& zone) {
        const auto& ring = *static_cast<const ring_layout*>(zone.data());
        const bool sound = has_sound_header(ring, zone.length);
        if (const char* fault = sound ? find_fault(ring) : "its header is no ring's")
            findings_.insert({fmt::format("ring \"{}\": {}", zone.name.view(), fault), 0});
        check_claim("ring", zone.name.view(), ring.producer.load().lane);
        check_claim("ring", zone.name.view(), ring.consumer.load().lane);
        if (sound)
            check_stages(zone, ring);
    });
}

void structure_scan::check_pools()
{
    for (const auto& view : pools_) {
        if (const char* fault = find_fault(view.pool->backing()))
            findings_.insert({fmt::format("pool \"{}\": {}", view.zone->name.view(), fault), 0});
        if (const char* fault = find_chunk_fault(*view.pool))
            findings_.insert({fmt::format("pool \"{}\": {}", view.zone->name.view(), fault), 0});
        check_claim("the growth of pool", view.zone->name.view(), view.pool->growing.holder());
        check_claim("pool", view.zone->name.view(), view.pool->backing().producer.load().lane);
        check_claim("pool", view.zone->name.view(), view.pool->backing().consumer.load().lane);
    }
}

void structure_scan::check_chunks()
{
    for_each_live(region_.memory, zone_kind::pool_chunk, [&](const memzone_layout& zone) {
        const bool owned = is_listed(region_.memory, zone) ||
                           (zone.parent < region_.memory.zone_count &&
                            region_.memory.zones[zone.parent].word().state == zone_state::dying);
        if (!owned)
            findings_.insert({fmt::format("\"{}\" is a chunk of no pool", zone.name.view()),
                              zone.word().generation});
    });
}

void structure_scan::check_entries()
{
    for_each_used(region_.memory, [&](const auto& zone) {
        const auto word = zone.word();
        const bool unfinished = word.state == zone_state::init || word.state == zone_state::dying;
        if (unfinished &&
            (word.member >= max_members ||
             region_.members.members[word.member].word().state == member_state::empty))
            findings_.insert(
                {fmt::format("entry \"{}\" is unfinished and its owner, member {}, is gone",
                             zone.name.peek().view(), word.member),
                 word.generation});
    });
}

void structure_scan::check_heaps()
{
    for_each_live(region_.memory, zone_kind::heap, [&](const memzone_layout& zone) {
        const auto& heap = *static_cast<const heap_layout*>(zone.data());
        check_claim("the lock of", zone.name.view(), heap.lock.holder());
        constexpr member_id nobody = 0;  // external memory need not be mapped here
        for_each_arena(region_.memory, heap, nobody, [&](const heap_arena_layout& arena) {
            if (!for_each_block(arena, [](const heap_block&, block_word) {}))
                findings_.insert({fmt::format("heap \"{}\": the chain of its arena at {} is broken",
                                              zone.name.view(), fmt::ptr(&arena)),
                                  0});
        });
    });
}

void structure_scan::check_ports()
{
    for_each_live(region_.memory, zone_kind::port, [&](const memzone_layout& zone) {
        const auto& port = *static_cast<const port_layout*>(zone.data());
        const auto name = zone.name.view();
        ports_.insert(name);
        check_claim("the capture of port", name, port.capturer.holder());
        for (std::size_t i = 0; i != max_port_queues; ++i) {
            check_claim("an rx queue of port", name, port.rx[i].owner.holder());
            check_claim("a tx queue of port", name, port.tx[i].owner.holder());
        }
    });
}

void structure_scan::check_captures()
{
    for_each_live(region_.memory, zone_kind::capture, [&](const memzone_layout& zone) {
        const auto& capture = *static_cast<const capture_layout*>(zone.data());
        const auto name = zone.name.view();
        if (!ports_.contains(name))
            findings_.insert({fmt::format("a capture is left of port \"{}\", which is gone", name),
                              zone.word().generation});
        for (std::uint32_t i = 0;
             i != std::min<std::uint32_t>(capture.streams, 2 * max_port_queues); ++i)
            if (const char* fault = find_fault(capture, i))
                findings_.insert({fmt::format("the capture of port \"{}\": {}", name, fault), i});
    });
}

void structure_scan::check_lanes()
{
    for (lane_id id = 1; id != max_lanes; ++id) {
        const auto word = region_.members.lanes[id].word();
        if (word.state == lane_state::free)
            continue;
        if (word.member >= max_members ||
            region_.members.members[word.member].word().state == member_state::empty)
            findings_.insert(
                {fmt::format("lane {} names member {}, which is gone", id, word.member),
                 word.generation});
    }
}

}  // namespace

void find_structure_faults(const audited_region& region, std::span<const pool_view> pools,
                           finding_set& findings)
{
    structure_scan{region, pools, findings}.run();
}

}  // namespace cohort
