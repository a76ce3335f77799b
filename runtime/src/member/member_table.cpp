#include "cohort/member/member_table.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/fault_point.hpp"

#include <fstream>
#include <sstream>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

namespace cohort {

void member_table::create() noexcept
{
    for (auto& lane : layout_->lanes)
        lane.sentinel.initialise();
}

bool member_table::begin_join(member_id slot, std::string_view name, member_role role,
                              std::uint32_t epoch) noexcept
{
    auto& member = layout_->members[slot];
    auto seen = member.state.load(std::memory_order_acquire);
    const auto word = member_word::unpack(seen);
    const member_word joining{word.generation + 1, member_state::joining};
    if (word.state != member_state::empty ||
        !member.state.compare_exchange_strong(seen, joining.pack(), std::memory_order_acq_rel))
        return false;
    COHORT_FAULT_POINT("member.joining");
    member.pid = ::getpid();
    member.role = role;
    member.start_time = process_start_time(member.pid);
    member.pid_namespace = own_pid_namespace();
    member.joined_ns = monotonic_ns();
    member.epoch = epoch;
    member.name = fixed_name<64>{name};
    for (auto& offer : member.offers)
        offer = {};
    return true;
}

void member_table::finish_join(member_id slot) noexcept
{
    auto& member = layout_->members[slot];
    const member_word live{member.word().generation, member_state::live};
    COHORT_FAULT_POINT("member.before_live");
    member.state.store(live.pack(), std::memory_order_release);  // JOINED
    COHORT_FAULT_POINT("member.live");
}

bool member_table::begin_death(member_ref member) noexcept
{
    auto& word = layout_->members[member.id].state;
    const auto dying = member_word{member.generation, member_state::dying}.pack();
    for (const auto from : {member_state::live, member_state::joining}) {
        auto expected = member_word{member.generation, from}.pack();
        if (word.compare_exchange_strong(expected, dying, std::memory_order_acq_rel))
            return true;
    }
    return word.load(std::memory_order_acquire) == dying;
}

void member_table::finish_death(member_ref member) noexcept
{
    auto dying = member_word{member.generation, member_state::dying}.pack();
    const auto empty = member_word{member.generation, member_state::empty}.pack();
    layout_->members[member.id].state.compare_exchange_strong(dying, empty,
                                                              std::memory_order_acq_rel);
}

bool member_table::is_live(member_ref member) const noexcept
{
    const auto word = layout_->members[member.id].word();
    return word.generation == member.generation && word.state == member_state::live;
}

bool member_table::is_current(member_ref member) const noexcept
{
    const auto word = layout_->members[member.id].word();
    return word.generation == member.generation && word.state != member_state::empty;
}

std::optional<lane_id> member_table::enter(member_id member, std::string_view name,
                                           int cpu) noexcept
{
    const auto take = [&](lane_state from) -> std::optional<lane_id> {
        for (lane_id id = 1; id != max_lanes; ++id) {
            auto& lane = layout_->lanes[id];
            auto seen = lane.state.load(std::memory_order_acquire);
            const auto word = lane_word::unpack(seen);
            if (word.state != from || (from == lane_state::orphan && word.member != member))
                continue;
            const lane_word entering{word.generation + 1, member, lane_state::entering};
            if (lane.state.compare_exchange_strong(seen, entering.pack(),
                                                   std::memory_order_acq_rel))
                return id;
        }
        return std::nullopt;
    };
    auto id = take(lane_state::orphan);
    if (!id)
        id = take(lane_state::free);
    if (!id)
        return std::nullopt;
    auto& lane = layout_->lanes[*id];
    COHORT_FAULT_POINT("lane.entering");
    if (!lane.sentinel.hold())  // a scrubbed lane is never held: this is a broken invariant
        return std::nullopt;
    COHORT_FAULT_POINT("lane.held");
    lane.tid = ::gettid();
    lane.cpu = cpu;
    lane.entered_ns = monotonic_ns();
    lane.name = fixed_name<32>{name};
    const lane_word live{lane.word().generation, member, lane_state::live};
    lane.state.store(live.pack(), std::memory_order_release);  // ENTERED
    return id;
}

void member_table::begin_leave(lane_id id) noexcept
{
    auto& lane = layout_->lanes[id];
    auto word = lane.word();
    word.state = lane_state::leaving;
    // A full barrier: what the leaver looks at next, a destroyer has not begun to take away, or it
    // sees this lane leave and waits. See await_leavers.
    lane.state.exchange(word.pack(), std::memory_order_seq_cst);  // LEAVING
}

lane_id member_table::await_leavers(deadline until) const noexcept
{
    for (lane_id id = 1; id != max_lanes; ++id) {
        const auto& lane = layout_->lanes[id];
        const auto seen = lane.state.load(std::memory_order_seq_cst);  // LEAVING
        if (lane_word::unpack(seen).state != lane_state::leaving)
            continue;
        while (lane.state.load(std::memory_order_acquire) == seen && lane.sentinel.is_held() &&
               !lane.sentinel.owner_died()) {
            if (steady_clock::now() >= until)
                return id;
            std::this_thread::sleep_for(50us);
        }
    }
    return 0;
}

void member_table::finish_leave(lane_id id) noexcept
{
    auto& lane = layout_->lanes[id];
    auto word = lane.word();
    COHORT_FAULT_POINT("lane.leaving");
    // First the sentinel: a lane is FREE only when nobody holds it. Killed between the two, the
    // lane stays LEAVING and is reaped with its member.
    lane.sentinel.let_go();
    COHORT_FAULT_POINT("lane.let_go");
    word.state = lane_state::free;
    word.member = 0;
    lane.state.store(word.pack(), std::memory_order_release);
}

bool member_table::mark_dead(lane_id id, bool member_is_dead) noexcept
{
    auto& lane = layout_->lanes[id];
    auto seen = lane.state.load(std::memory_order_acquire);
    for (;;) {
        auto word = lane_word::unpack(seen);
        if (word.state == lane_state::dead)
            return true;
        if (word.state == lane_state::free || (word.state == lane_state::orphan && !member_is_dead))
            return false;
        if (!member_is_dead && !lane.sentinel.owner_died())
            return false;
        word.state = lane_state::dead;
        if (lane.state.compare_exchange_strong(seen, word.pack(), std::memory_order_acq_rel))
            return true;
    }
}

void member_table::bury(lane_id id, bool member_is_dead) noexcept
{
    auto& lane = layout_->lanes[id];
    auto seen = lane.state.load(std::memory_order_acquire);
    auto word = lane_word::unpack(seen);
    if (word.state != lane_state::dead)
        return;
    lane.sentinel.recover();
    COHORT_FAULT_POINT("lane.recovered");
    word.state = member_is_dead ? lane_state::free : lane_state::orphan;
    if (member_is_dead)
        word.member = 0;
    lane.state.compare_exchange_strong(seen, word.pack(), std::memory_order_acq_rel);
}

liveness_view member_table::liveness() const noexcept
{
    return {layout_, [](const void* table, lane_id lane) noexcept {
                const auto& lanes = static_cast<const member_table_layout*>(table)->lanes;
                return lane < max_lanes && lanes[lane].sentinel.owner_died();
            }};
}

std::uint64_t process_start_time(int pid) noexcept
{
    std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
    std::string text;
    std::getline(file, text);
    const auto name_end = text.rfind(')');  // the name itself may hold blanks and brackets
    if (name_end == std::string::npos)
        return 0;
    std::istringstream fields{text.substr(name_end + 1)};
    std::string skipped;
    for (int field = 3; field != 22; ++field)
        fields >> skipped;
    std::uint64_t start = 0;
    fields >> start;
    return start;
}

std::uint64_t own_pid_namespace() noexcept
{
    struct stat status {};
    return ::stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

}  // namespace cohort
