#include "cohort/base/error.hpp"
#include "cohort/ipc/foreign.hpp"
#include "cohort/secondary/secondary.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace cohort::secondary {
namespace {

/// Live members, the primary first.
std::vector<member_ref> members_to_ask(const region_layout& region)
{
    std::vector<member_ref> found;
    for (member_id id = 1; id != max_members; ++id) {
        const auto& member = region.members.members[id];
        const auto word = member.word();
        if (word.state != member_state::live)
            continue;
        const bool first = member.role == member_role::primary;
        found.insert(first ? found.begin() : found.end(), {id, word.generation});
    }
    return found;
}

}  // namespace

std::optional<member_ref> observer::find_member(std::string_view name) const noexcept
{
    for (member_id id = 1; id != max_members; ++id) {
        const auto& member = region().members.members[id];
        const auto word = member.word();
        if (word.state == member_state::live && member.name == name)
            return member_ref{id, word.generation};
    }
    return std::nullopt;
}

ipc::answer observer::request(member_ref to, std::string_view action, std::string_view text,
                              steady_clock::duration timeout, std::span<const int> fds) const
{
    const bool lives = to.id != 0 && to.id < max_members &&
                       region().members.members[to.id].word().pack() ==
                           member_word{to.generation, member_state::live}.pack();
    auto given = lives ? ipc::ask_over_socket(place_.member_socket(to.id), action, text, fds,
                                              deadline_in(timeout))
                       : ipc::answer{.peer = to, .what = ipc::verdict::died, .payload = {}};
    given.peer = to;
    return given;
}

std::string observer::query(std::string_view asked, steady_clock::duration timeout) const
{
    const auto comma = std::min(asked.find(','), asked.size());
    const auto path = asked.substr(0, comma);
    const auto parameters = asked.substr(std::min(comma + 1, asked.size()));
    const auto until = deadline_in(timeout);
    const auto members = members_to_ask(region());
    for (std::size_t i = 0; i != members.size(); ++i) {
        const auto left = std::max(until - steady_clock::now(), steady_clock::duration{1ms});
        const auto given =
            request(members[i], path, parameters, left / static_cast<int>(members.size() - i));
        if (given.what == ipc::verdict::replied)
            return std::string{given.text()};
        if (given.what == ipc::verdict::refused)
            throw error{errc::not_found,
                        std::string{given.text()} + "; ask \"/\" for the paths that there are"};
    }
    throw error{errc::timed_out,
                fmt::format("none of {} members of domain \"{}\" answers \"{}\"; are they stopped?",
                            members.size(), region().header.name.view(), asked)};
}

}  // namespace cohort::secondary
