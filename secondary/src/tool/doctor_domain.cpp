// The domain itself, if there is one: whether it is alive, whole, and has room.

#include "cohort/base/error.hpp"
#include "cohort/domain/rendezvous.hpp"
#include "cohort/pool/mempool_layout.hpp"
#include "cohort/secondary/secondary.hpp"
#include "doctor.hpp"

#include <fstream>

#include <fmt/format.h>

#include <unistd.h>

namespace cohort::tool {
namespace {

constexpr auto look_patience = 500ms;

/// What its directory says of a domain, which may be another user's: then nothing is looked at.
struct signs {
    bool present = false;
    bool primary = false;
    bool life = false;
    int pid = 0;  ///< of the last primary
};

signs look(const std::string& domain)
{
    const rendezvous place{domain};
    signs seen;
    // For reading: a look must not make the file.
    if (::access(place.lock_file().c_str(), R_OK | W_OK) != 0)
        return seen;
    const lock_description lock{place.lock_file(), lock_description::open_mode::existing};
    seen.present = true;
    seen.primary = lock.is_locked(lock_description::primary_byte);
    seen.life = lock.is_locked(lock_description::life_byte);
    if (const auto record = lock.read_place())
        seen.pid = record->pid;
    return seen;
}

bool is_stopped(int pid)
{
    std::ifstream file{fmt::format("/proc/{}/stat", pid)};
    std::string text;
    std::getline(file, text);
    const auto name_end = text.rfind(')');
    return name_end != std::string::npos &&
           (text.compare(name_end, 3, ") T") == 0 || text.compare(name_end, 3, ") t") == 0);
}

/// Nothing when it cannot be looked at: another check says why.
std::optional<secondary::observer> try_observe(const std::string& domain)
{
    try {
        if (look(domain).life)
            return secondary::observe(domain, look_patience);
    } catch (const error&) {
    }
    return std::nullopt;
}

std::optional<finding> stale(const std::string& domain)
{
    const auto seen = look(domain);
    if (!seen.present || seen.life || seen.primary)
        return std::nullopt;
    return finding{gravity::weakness,
                   fmt::format("{} is there, and nobody of domain \"{}\" lives",
                               rendezvous{domain}.directory(), domain),
                   "attaching fails; the directory is all that is left of it",
                   fmt::format("start it with cohortd, which cleans up, or rm -r {}",
                               rendezvous{domain}.directory())};
}

std::optional<finding> orphaned(const std::string& domain)
{
    const auto seen = look(domain);
    if (!seen.present || seen.primary || !seen.life)
        return std::nullopt;
    return finding{gravity::fault,
                   fmt::format("domain \"{}\" has members and no primary; the last had pid {}",
                               domain, seen.pid),
                   "members work on, and nobody can attach",
                   fmt::format("cohortd --domain {} --adopt", domain)};
}

std::optional<finding> stopped_primary(const std::string& domain)
{
    const auto seen = look(domain);
    if (!seen.primary || !is_stopped(seen.pid))
        return std::nullopt;
    return finding{
        gravity::fault,
        fmt::format("the primary of domain \"{}\", pid {}, is stopped", domain, seen.pid),
        "nobody can attach", fmt::format("kill -CONT {}", seen.pid)};
}

std::optional<finding> stopped_member(const std::string& domain)
{
    const auto seen = try_observe(domain);
    if (!seen)
        return std::nullopt;
    for (const auto& member : seen->region().members.members)
        if (member.word().state == member_state::live && member.role != member_role::primary &&
            member.pid_namespace == own_pid_namespace() && is_stopped(member.pid))
            return finding{
                gravity::weakness,
                fmt::format("member \"{}\", pid {}, is stopped", member.name.view(), member.pid),
                "what it holds stays its own, and requests to it time out",
                fmt::format("kill -CONT {}, or end it", member.pid)};
    return std::nullopt;
}

std::optional<finding> does_not_answer(const std::string& domain)
{
    if (!look(domain).life)
        return std::nullopt;
    try {
        static_cast<void>(secondary::observe(domain, look_patience));
        return std::nullopt;
    } catch (const error& refused) {
        return finding{gravity::fault, refused.what(),
                       fmt::format("domain \"{}\" cannot be looked at", domain),
                       "do what the sentence says"};
    }
}

std::optional<finding> empty_pool(const std::string& domain)
{
    const auto seen = try_observe(domain);
    std::optional<finding> found;
    if (!seen)
        return found;
    for_each_live(seen->region().memory, zone_kind::mempool, [&](const memzone_layout& zone) {
        const auto& pool = *static_cast<const mempool_layout*>(zone.data());
        std::uint64_t free = pool.backing().count();
        for (lane_id lane = 1; lane != max_lanes; ++lane)
            free += pool.cache(lane).length.load(std::memory_order_relaxed);  // a look
        if (const auto count = pool.count(); count != 0 && free == 0 && !found)
            found = finding{
                gravity::weakness,
                fmt::format("all {} objects of pool \"{}\" are in use", count, zone.name.view()),
                "whoever gets from it gets nothing",
                fmt::format("see \"cohort holders {}\"; make it larger", zone.name.view())};
    });
    return found;
}

std::optional<finding> no_names_left(const std::string& domain)
{
    const auto seen = try_observe(domain);
    if (!seen)
        return std::nullopt;
    std::size_t used = 0;
    const auto all = seen->region().memory.zone_count;
    for_each_used(seen->region().memory, [&](const auto&) { ++used; });
    if (used * 20 < std::size_t{all} * 19)
        return std::nullopt;
    return finding{gravity::weakness, fmt::format("{} of {} names are in use", used, all),
                   "soon no ring, pool or memzone can be created",
                   "destroy some, or start with more (--max-zones)"};
}

std::optional<finding> unsound(const std::string& domain)
{
    const auto seen = try_observe(domain);
    if (!seen)
        return std::nullopt;
    const auto report = audit(seen->mapping());
    if (report.clean())
        return std::nullopt;
    return finding{gravity::fault, report.faults.front(),
                   fmt::format("the audit has {} findings: something wrote where it should not",
                               report.faults.size()),
                   "see \"cohort audit\"; stop all members and start anew"};
}

std::optional<finding> no_lanes_left(const std::string& domain)
{
    const auto seen = try_observe(domain);
    if (!seen)
        return std::nullopt;
    std::size_t lanes = 0;
    for (const auto& lane : seen->region().members.lanes)
        lanes += lane.word().state != lane_state::free ? 1 : 0;
    if (lanes + 2 < max_lanes - 1)
        return std::nullopt;
    return finding{gravity::weakness,
                   fmt::format("{} of {} lanes are in use", lanes, max_lanes - 1),
                   "further threads cannot use the domain",
                   "end threads that use it; \"cohort lanes\" lists them"};
}

}  // namespace

std::vector<check> domain_checks()
{
    return {{"stale-domain", stale},
            {"no-primary", orphaned},
            {"stopped-primary", stopped_primary},
            {"stopped-member", stopped_member},
            {"no-answer", does_not_answer},
            {"empty-pool", empty_pool},
            {"no-names-left", no_names_left},
            {"no-lanes-left", no_lanes_left},
            {"unsound", unsound}};
}

}  // namespace cohort::tool
