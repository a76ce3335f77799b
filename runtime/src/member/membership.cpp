#include "cohort/member/membership.hpp"

#include "cohort/base/error.hpp"
#include "cohort/sync/futex_bell.hpp"

#include <atomic>
#include <cerrno>
#include <mutex>

#include <fmt/format.h>

#include <pthread.h>
#include <sched.h>

namespace cohort {
namespace {

// Guards `memberships` against threads that end while a domain opens or closes.
std::mutex open_mutex;

std::uint32_t next_instance() noexcept
{
    static std::atomic<std::uint32_t> counter{0};
    return counter.fetch_add(1, std::memory_order_relaxed) + 1;  // only uniqueness matters
}

/// Leaves the thread's lanes when the thread ends.
struct lane_leaver {
    bool armed = false;
    ~lane_leaver()
    {
        const std::lock_guard guard{open_mutex};
        for (auto* member : memberships)
            if (member)
                member->leave_lane();
    }
};
thread_local lane_leaver leaver;

/// A forked child has the parent's thread-local words but none of its lanes.
void forget_lanes_in_child() noexcept
{
    thread_lanes = {};
    memberships = {};
}

}  // namespace

membership::membership(std::uintptr_t window_base, std::size_t window_bytes, member_table members,
                       member_ref self, lane_hook before_leave)
    : slot_{window_place(window_base)}
    , slots_{slot_ < window_slots ? window_bytes / window_slot_bytes : 1}
    , instance_{next_instance()}
    , members_{members}
    , self_{self}
    , holder_{custody::holder(self.id, self.generation)}
    , liveness_{members.liveness()}
    , before_leave_{std::move(before_leave)}
{
    static const int registered = ::pthread_atfork(nullptr, nullptr, &forget_lanes_in_child);
    static_cast<void>(registered);
    register_for_bells();
    const std::lock_guard guard{open_mutex};
    occupy(this);
}

void membership::occupy(membership* by) noexcept
{
    for (std::size_t i = 0; i != slots_; ++i)
        memberships[slot_ + i] = by;
}

membership::~membership()
{
    const std::lock_guard guard{open_mutex};
    if (memberships[slot_] == this)
        occupy(nullptr);
}

void membership::adopt_lane(lane_id lane) noexcept
{
    thread_lanes[slot_] = {instance_, lane};
    leaver.armed = true;  // constructs the thread's leaver
}

lane_id membership::enter_or_none() noexcept
{
    char name[16]{};
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    const auto lane = members_.enter(self_.id, name, -1);
    if (!lane)
        return 0;
    adopt_lane(*lane);
    return *lane;
}

lane_id membership::enter_lane(std::string_view name, int cpu)
{
    if (thread_lanes[slot_].instance == instance_)
        throw error{errc::exists, fmt::format("this thread is on lane {} already; enter before its "
                                              "first use of the domain",
                                              thread_lanes[slot_].lane)};
    if (cpu >= 0) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<std::size_t>(cpu), &one);
        if (const int failure = ::pthread_setaffinity_np(::pthread_self(), sizeof one, &one))
            throw error{
                errc::invalid_argument,
                fmt::format("cannot pin lane \"{}\" to processor {}: {}; name one that this "
                            "process may use (nproc, taskset -p)",
                            name, cpu, describe_errno(failure))};
    }
    const auto lane = members_.enter(self_.id, name, cpu);
    if (!lane)
        throw error{errc::no_space,
                    fmt::format("all {} lanes are in use; end a thread that uses the "
                                "domain (\"cohort lanes\" lists them)",
                                max_lanes - 1)};
    adopt_lane(*lane);
    return *lane;
}

void membership::leave_lane() noexcept
{
    auto& mine = thread_lanes[slot_];
    if (mine.instance != instance_)
        return;
    members_.begin_leave(mine.lane);
    if (before_leave_)
        before_leave_(mine.lane);
    members_.finish_leave(mine.lane);
    mine = {};
}

}  // namespace cohort
