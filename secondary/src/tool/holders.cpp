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

/// Moments of chance after a first one, and as the last the one that is `age` after it.
std::vector<deadline> moments_after(deadline first, std::chrono::nanoseconds age)
{
    std::mt19937_64 engine{std::random_device{}()};
    std::uniform_int_distribution<std::chrono::nanoseconds::rep> between{0, age.count()};
    std::vector<deadline> moments{first + age};
    for (int i = 0; i != looks_between; ++i)
        moments.push_back(first + std::chrono::nanoseconds{between(engine)});
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
    const auto least = std::chrono::duration_cast<std::chrono::nanoseconds>(age);
    leak_watch watch{audited(region), *zone};
    const auto look = [&watch] {
        const auto now = steady_clock::now();
        watch.look(static_cast<std::uint64_t>(now.time_since_epoch() / 1ns));
        return now;
    };
    // The age counts from the first look itself, however late it was.
    for (const auto moment : moments_after(look(), least)) {
        std::this_thread::sleep_until(moment);
        look();
    }
    ipc::table shown{{"member", "name", "pid", "buffers", "oldest_s"}, {}};
    for (const auto& held : watch.held_longer_than(static_cast<std::uint64_t>(least.count())))
        shown.rows.push_back(
            {held.member, name_of(region, held.member),
             held.member < max_members ? region.members.members[held.member].pid : 0, held.buffers,
             held.oldest_ns / 1'000'000'000u});
    return shown;
}

}  // namespace cohort::tool
