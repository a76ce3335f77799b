#include "holders.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/member/custody.hpp"
#include "cohort/recovery/leak_watch.hpp"

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace cohort::tool {
namespace {

constexpr int looks_between = 30;  // see leak_watch.hpp for what they are worth

/// The first moment, the last, and moments of chance between.
std::vector<deadline> moments_in(std::chrono::duration<double> age)
{
    const auto whole = std::chrono::duration_cast<steady_clock::duration>(age);
    const auto start = steady_clock::now();
    std::mt19937_64 engine{std::random_device{}()};
    std::uniform_int_distribution<steady_clock::rep> between{0, whole.count()};
    std::vector<deadline> moments{start, start + whole};
    for (int i = 0; i != looks_between; ++i)
        moments.push_back(start + steady_clock::duration{between(engine)});
    std::sort(moments.begin(), moments.end());
    return moments;
}

std::string name_of(const region_layout& region, member_id id)
{
    if (id >= max_members)
        return id == custody::device ? "(device)" : id == custody::kept ? "(kept)" : "(waiting)";
    return std::string{region.members.members[id].name.view()};
}

}  // namespace

ipc::table watch_holders(const region_layout& region, const std::string& pool,
                         std::chrono::duration<double> age)
{
    const memzone_layout* zone = nullptr;
    for_each_live(region.memory, zone_kind::mempool,
                  [&](const memzone_layout& each) { zone = each.name == pool ? &each : zone; });
    if (!zone)
        throw error{errc::not_found,
                    fmt::format("there is no pool \"{}\"; \"cohort pools\" lists them", pool)};
    leak_watch watch{audited(region), *zone};
    for (const auto moment : moments_in(age)) {
        std::this_thread::sleep_until(moment);
        watch.look(monotonic_ns());
    }
    const auto least_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(age).count();
    ipc::table shown{{"member", "name", "pid", "buffers", "oldest_s"}, {}};
    for (const auto& held : watch.held_longer_than(static_cast<std::uint64_t>(least_ns)))
        shown.rows.push_back(
            {held.member, name_of(region, held.member),
             held.member < max_members ? region.members.members[held.member].pid : 0, held.buffers,
             held.oldest_ns / 1'000'000'000u});
    return shown;
}

}  // namespace cohort::tool
