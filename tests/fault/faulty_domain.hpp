#pragma once

// A domain in which one process is killed at a fault point, and what the others must find after.

#include "cohort/memory/heap_layout.hpp"
#include "cohort/recovery/audit.hpp"
#include "process/living_domain.hpp"
#include "support/child_process.hpp"
#include "support/stopped.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

/// Memzones that hold the payload of a message.
[[nodiscard]] inline std::size_t payload_memzones(const region_layout& region)
{
    std::size_t count = 0;
    for_each_live(region.memory, zone_kind::memzone, [&](const auto& zone) {
        count += zone.name.view().starts_with("cohort.") ? 1 : 0;
    });
    return count;
}

/// Nothing of the dead is left: every slot, lane and entry belongs to somebody alive, every buffer
/// is in its pool.
[[nodiscard]] inline bool is_whole(const region_layout& region, std::size_t members)
{
    const auto& slots = region.members.members;
    const std::span zones{region.memory.zones, region.memory.zone_count};
    const bool all_alive = std::all_of(std::begin(slots), std::end(slots), [](const auto& slot) {
        const auto state = slot.word().state;
        return state == member_state::empty || state == member_state::live;
    });
    const bool all_finished = std::all_of(std::begin(zones), std::end(zones), [](const auto& zone) {
        const auto state = zone.word().state;
        return state == zone_state::empty || state == zone_state::live;
    });
    const auto& lanes = region.members.lanes;
    const bool all_manned = std::all_of(std::begin(lanes), std::end(lanes), [&](const auto& lane) {
        const auto word = lane.word();
        return word.state == lane_state::free ||
               (word.state == lane_state::live && word.member < max_members &&
                slots[word.member].word().state == member_state::live);
    });
    if (!all_alive || !all_finished || !all_manned || live_members(region) != members ||
        payload_memzones(region) != 0)
        return false;
    bool no_block = true;
    for_each_live(region.memory, zone_kind::heap_arena, [&](const auto& zone) {
        if (zone.is_external())
            return;  // not mapped here
        for_each_block(*static_cast<const heap_arena_layout*>(zone.data()),
                       [&](const auto&, block_word word) { no_block &= !word.is_used(); });
    });
    const auto report = audit(audited(region), 1);
    return no_block && report.clean() &&
           std::all_of(report.pools.begin(), report.pools.end(),
                       [](const auto& pool) { return pool.free() == pool.count; });
}

/// What the audit of each pool and each fault says, for a failed check.
[[nodiscard]] inline std::string describe(const region_layout& region)
{
    std::string text = "members " + std::to_string(live_members(region));
    const auto report = audit(audited(region));
    for (const auto& pool : report.pools)
        text += "\n  pool " + pool.name + ": " + std::to_string(pool.count) + " = in pool " +
                std::to_string(pool.in_pool) + " + cached " + std::to_string(pool.cached) +
                " + in rings " + std::to_string(pool.in_rings) + " + held " +
                std::to_string(pool.held) + " + followers " + std::to_string(pool.followers) +
                " + shared " + std::to_string(pool.shared) + " + kept " +
                std::to_string(pool.kept) + " + waiting " + std::to_string(pool.waiting);
    for (const auto& fault : report.faults)
        text += "\n  " + fault;
    for (std::size_t i = 1; i != max_members; ++i)
        if (const auto word = region.members.members[i].word(); word.state != member_state::empty)
            text += "\n  member " + std::to_string(i) + " in state " +
                    std::to_string(static_cast<int>(word.state));
    for (std::size_t i = 1; i != max_lanes; ++i)
        if (const auto word = region.members.lanes[i].word(); word.state != lane_state::free)
            text += "\n  lane " + std::to_string(i) + " of member " + std::to_string(word.member) +
                    " in state " + std::to_string(static_cast<int>(word.state));
    return text;
}

/// A cohortd and a bystander, in a directory of their own.
class faulty_domain {
public:
    static constexpr const char* name = "faulty";

    [[nodiscard]] static child_process spawn(std::vector<std::string> scenario,
                                             const std::string& fault = {})
    {
        scenario.insert(scenario.begin(), name);
        return child_process::spawn("fault_member", scenario, {"COHORT_FAULT=" + fault});
    }

    [[nodiscard]] std::filesystem::path root() const { return directory_.path(); }
    void bring_to_life()
    {
        primary_.emplace(start_cohortd(name));
        bystander_.emplace(spawn({"bystander"}));
        bystander_->await("ready", patience);
    }
    [[nodiscard]] child_process& primary() { return primary_.value(); }
    void start_next_primary()
    {
        primary_.reset();
        primary_.emplace(start_cohortd(name));
    }

    void take_as_primary(child_process next)
    {
        primary_.reset();
        primary_.emplace(std::move(next));
    }

    void tell_bystander(const std::string& command)
    {
        bystander_->tell(command);
        bystander_->await("done", patience);
    }
    void stop_all()
    {
        stop(primary_.value());
        stop(bystander_.value());
    }
    void continue_all()
    {
        primary_->kill(SIGCONT);
        bystander_->kill(SIGCONT);
    }

    static void check_audit()
    {
        auto tool = child_process::spawn("cohort", {"--domain", name, "audit"}, {},
                                         standard_error::with_output);
        std::string said;
        while (const auto line = tool.read_line(patience))
            said += *line + '\n';
        INFO(said);
        CHECK(tool.wait(patience) == exit_status{});
    }

    /// The survivors carry on, newcomers are admitted, and every buffer comes back.
    void check_survivors()
    {
        const auto seen = secondary::observe(name, patience);
        tell_bystander("work");
        auto newcomer = spawn({"attach"});
        REQUIRE(newcomer.wait(patience) == exit_status{});
        CHECK(eventually([&] { return live_members(seen.region()) == 2; }));
        const bool whole = eventually([&] {
            tell_bystander("drain");  // makes room for packets that wait for redelivery
            return is_whole(seen.region(), 2);
        });
        INFO(describe(seen.region()));
        CHECK(whole);
        check_audit();
    }

    /// The name starts again without help, and in the end nothing is left.
    void check_next_start()
    {
        bystander_.reset();  // killed, as at scope exit
        primary_.reset();
        auto next = start_cohortd(name);
        {
            const auto seen = secondary::observe(name, patience);
            CHECK(eventually([&] { return is_whole(seen.region(), 1); }));
        }
        check_audit();
        next.kill(SIGTERM);
        CHECK(next.wait(patience) == exit_status{});
        CHECK(std::filesystem::is_empty(root()));
        CHECK(await_no_new_object(objects_before_));
    }

private:
    scratch_runtime_directory directory_;
    std::set<std::string> objects_before_ = shared_memory_objects();
    std::optional<child_process> primary_;
    std::optional<child_process> bystander_;
};

}  // namespace cohort::test
