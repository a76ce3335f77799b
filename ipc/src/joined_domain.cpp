#include "cohort/ipc/joined_domain.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/ipc/port_courier.hpp"

#include <cstring>
#include <optional>
#include <string>

#include <fmt/format.h>

#include <unistd.h>

namespace cohort::ipc {
namespace {

constexpr std::string_view memory_action = "cohort.memory";

}  // namespace

member_claim claim_member(region_layout& region, const rendezvous& place, std::string_view name,
                          member_role role)
{
    if (!fixed_name<64>::fits(name))
        throw error{errc::name_too_long,
                    fmt::format("the member name \"{}\" must have 1 to {} characters", name,
                                fixed_name<64>::max_length)};
    member_table table{region.members};
    for (member_id slot = 1; slot != max_members; ++slot) {
        if (table.member(slot).word().state != member_state::empty)
            continue;
        // The byte first: a slot in JOINING whose byte is free belongs to nobody alive.
        lock_description lock{place.lock_file(), lock_description::open_mode::existing};
        if (!lock.try_lock(lock_description::member_byte(slot)))
            continue;
        const auto epoch = region.header.epoch.load(std::memory_order_acquire);
        if (table.begin_join(slot, name, role, epoch))
            return {std::move(lock), {slot, table.member(slot).word().generation}};
    }
    throw error{
        errc::no_space,
        fmt::format("all {} member slots of domain \"{}\" are taken; end a member (\"cohort "
                    "ps\" lists them)",
                    max_members - 1, region.header.name.view())};
}

joined_domain::joined_domain(region_mapping region, member_claim claim, rendezvous place,
                             file_descriptor wake)
    : member_lock{std::move(claim.lock)}
    , domain{std::move(region), claim.self}
    , place_{std::move(place)}
    , wake_{std::move(wake)}
    , queries_{*this}
    , actions_{*this, peers_, place_, wake_.get()}
    , dispatcher_{*this, actions_, peers_, held(), wake_.get()}
{
    ports().use(make_port_courier(*this, place_));
    actions_.set_unregistered(
        [this](std::string_view name, std::string_view text) -> std::optional<std::string> {
            if (!queries_.knows(name))
                return std::nullopt;
            return queries_.answer(fmt::format("{},{}", name, text));
        });
}

joined_domain::~joined_domain()
{
    dispatcher_.stop();
    segments().watch().clear();  // ~domain may give pages back when there is no channel any more
    actions_.close();
    // An owner that was the last member has taken the directory away; what lies there now is the
    // next primary's.
    if (held().is_at(place_.lock_file()))
        ::unlink(place_.member_socket(self().id).c_str());
    COHORT_FAULT_POINT("member.unheard");
}

void joined_domain::go_live()
{
    auto& own = this->region().members.members[self().id];
    own.control_fd = mapping().files().control.get();
    member_table{this->region().members}.finish_join(self().id);
}

/// Only to who listens: a member that is stopped must not fill its inbox with what it never asked
/// for.
void joined_domain::tell_others(const memory_event& event)
{
    if (event.by_member != self().id)
        return;  // heard from its member
    const auto listeners =
        this->region().memory.event_listeners.load(std::memory_order_relaxed);  // a hint
    const std::string_view bytes{reinterpret_cast<const char*>(&event), sizeof event};
    members().members().for_each_member([&](member_id id, member_layout&, member_word word) {
        if (id != self().id && word.state == member_state::live && (listeners >> id & 1) != 0)
            actions_.send(member_ref{id, word.generation}, memory_action, bytes);
    });
}

void joined_domain::on_memory_event(memory_watch::listener hears)
{
    segments().watch().on_event(std::move(hears));
    std::call_once(listening_, [&] {
        actions_.on(memory_action, [this](message& news) {
            memory_event event;
            if (news.payload().size() != sizeof event)
                return;
            std::memcpy(&event, news.payload().data(), sizeof event);
            if (event.by_member == news.from().id)
                segments().watch().tell(event);
        });
        this->region().memory.event_listeners.fetch_or(std::uint64_t{1} << self().id,
                                                       std::memory_order_relaxed);  // a hint
    });
}

void joined_domain::on_shut_down(std::function<void()> hears)
{
    actions_.on(shut_down_action, [this, hears = std::move(hears)](message& asked) {
        if (asked.from() == actions_.find_primary())
            hears();
    });
}

void joined_domain::start(std::unique_ptr<member_service> service,
                          std::vector<file_descriptor> listeners,
                          std::vector<file_descriptor> connections, dispatching how)
{
    segments().watch().on_event([this](const memory_event& event) { tell_others(event); });
    dispatcher_.start(std::move(service), std::move(listeners), std::move(connections), how);
}

}  // namespace cohort::ipc
