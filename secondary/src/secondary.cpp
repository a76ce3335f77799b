#include "cohort/secondary/secondary.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/ipc/attach.hpp"
#include "cohort/ipc/socket.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <thread>

#include <fmt/format.h>

namespace cohort::secondary {
namespace {

rendezvous find_rendezvous(std::string_view domain_name)
{
    rendezvous place{domain_name};
    if (!place.exists())
        throw error{
            errc::no_such_domain,
            fmt::format(
                "there is no domain \"{}\" ({} does not exist); start a primary with cohortd",
                domain_name, place.directory())};
    place.check();
    return place;
}

std::string process_name()
{
    char name[16]{};
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    return name;
}

/// Tells the primary that the slot is LIVE and takes the news it sends, up to the welcome.
void await_welcome(ipc::dispatcher& loop, member_ref self, int connection, deadline until)
{
    namespace wire = ipc::wire;
    const wire::member_message joined{
        .head = {.kind = wire::kind::joined}, .member = self.id, .generation = self.generation};
    bool connected = ipc::send_message(connection, wire::bytes_of(joined));
    COHORT_FAULT_POINT("attach.joined");
    while (connected) {
        if (!ipc::wait_readable(connection, until))
            throw error{errc::timed_out,
                        fmt::format("the primary, pid {}, did not welcome member {} in time; is it "
                                    "stopped?",
                                    ipc::peer_of(connection).pid, self.id)};
        alignas(8) std::array<std::byte, wire::max_bytes> buffer;
        auto received = ipc::receive_message(connection, buffer);
        const auto bytes = std::span{buffer}.first(received.bytes);
        connected = received.status == ipc::received_message::status::message;
        if (const auto* peer = wire::as<wire::member_message>(bytes, wire::kind::peer);
            peer && received.fds.size() == 2 && peer->member < max_members)
            loop.learn(peer->ref(), std::move(received.fds[0]), std::move(received.fds[1]));
        else if (const auto* no = wire::as<wire::attach_reply>(bytes, wire::kind::attach_reply);
                 no && no->refusal != 0)
            throw error{static_cast<errc>(no->refusal), std::string{no->sentence.view()}};
        else if (wire::as<wire::member_message>(bytes, wire::kind::welcome))
            return;
    }
    throw error{errc::primary_lost,
                fmt::format("the primary, pid {}, died while member {} was joining; try again",
                            ipc::peer_of(connection).pid, self.id)};
}

}  // namespace

attachment::attachment(region_mapping region, ipc::member_claim claim, rendezvous place,
                       file_descriptor wake, file_descriptor primary_connection, deadline until,
                       ipc::dispatching how)
    : joined_domain{std::move(region), std::move(claim), std::move(place), std::move(wake)}
{
    std::vector<file_descriptor> listeners;
    listeners.push_back(
        ipc::listen_at(this->place().member_socket(self().id), this->place().group()));
    go_live();
    await_welcome(loop(), self(), primary_connection.get(), until);
    loop().set_primary_link(primary_connection.get());
    std::vector<file_descriptor> connections;
    connections.push_back(std::move(primary_connection));
    start(std::make_unique<ipc::member_service>(*this, queries(), wake_fd()), std::move(listeners),
          std::move(connections), how);
}

namespace {

std::unique_ptr<attachment> attach_once(rendezvous place, const std::string& name,
                                        file_descriptor connection, deadline until,
                                        ipc::dispatching how)
{
    auto wake = ipc::new_eventfd();
    const auto pidfd = ipc::own_pidfd();
    const std::array fds{pidfd.get(), wake.get()};
    auto region = ipc::receive_region(connection.get(), place, ipc::wire::attach_as::member, name,
                                      fds, map_access::read_write, until);
    COHORT_FAULT_POINT("attach.mapped");
    auto claim = ipc::claim_member(region.layout(), place, name, member_role::secondary);
    return std::make_unique<attachment>(std::move(region), std::move(claim), std::move(place),
                                        std::move(wake), std::move(connection), until, how);
}

/// The pid of the primary that holds the lock, when it is not `asked_pid`.
std::optional<int> other_primary(const rendezvous& place, int asked_pid)
{
    try {
        const lock_description lock{place.lock_file(), lock_description::open_mode::existing};
        const auto record = lock.read_place();
        if (lock.is_locked(lock_description::primary_byte) && record && record->pid != asked_pid)
            return record->pid;
    } catch (const error&) {  // the domain has ended
    }
    return std::nullopt;
}

/// Throws what an attach ends with after `refused`, unless a primary is to serve in a moment: the
/// one that answered hands over or has done so, or the one that holds the lock does not listen yet.
void check_worth_waiting(const error& refused, const rendezvous& place, int asked_pid,
                         deadline until)
{
    const bool in_time = steady_clock::now() < until;
    if (refused.reason() == errc::in_use && in_time)
        return;
    const bool unheard = refused.reason() == errc::no_such_domain;
    if (!unheard && refused.reason() != errc::primary_lost)
        throw refused;
    const auto next = other_primary(place, asked_pid);
    if (!next)
        throw refused;
    if (in_time)
        return;
    if (unheard)
        throw error{errc::timed_out,
                    fmt::format("the primary of domain \"{}\", pid {}, did not begin to listen in "
                                "time; is it stopped?",
                                place.name(), *next)};
    throw refused;
}

}  // namespace

std::unique_ptr<attachment> attach(std::string_view domain_name, steady_clock::duration timeout,
                                   std::string_view member_name, ipc::dispatching how)
{
    const auto until = deadline_in(timeout);
    const auto place = find_rendezvous(domain_name);
    const auto name = member_name.empty() ? process_name() : std::string{member_name};
    if (!fixed_name<64>::fits(name))
        throw error{errc::name_too_long,
                    fmt::format("the member name \"{}\" has {} characters; at most {} fit", name,
                                name.size(), fixed_name<64>::max_length)};
    for (;; std::this_thread::sleep_for(1ms)) {
        int asked_pid = 0;
        try {
            auto connection = ipc::connect_to(place.primary_socket(), until);
            asked_pid = ipc::peer_of(connection.get()).pid;
            return attach_once(place, name, std::move(connection), until, how);
        } catch (const error& refused) {
            check_worth_waiting(refused, place, asked_pid, until);
        }
    }
}

observer observe(std::string_view domain_name, steady_clock::duration timeout)
{
    const auto until = deadline_in(timeout);
    const auto place = find_rendezvous(domain_name);
    std::vector<std::string> sockets{place.primary_socket()};
    std::error_code ignored;
    for (const auto& file : std::filesystem::directory_iterator{place.directory(), ignored})
        if (file.path().filename().string().starts_with("member-"))
            sockets.push_back(file.path().string());
    // A primary that is stopped or just dying costs its share of the time; then a member is asked.
    std::optional<error> first_refusal;
    for (std::size_t i = 0; i != sockets.size(); ++i) {
        const auto now = steady_clock::now();
        const auto share = (std::max(until, now) - now) / static_cast<int>(sockets.size() - i);
        try {
            const auto connection = ipc::connect_to(sockets[i], now + share);
            return observer{ipc::receive_region(connection.get(), place,
                                                ipc::wire::attach_as::observer, "observer", {},
                                                map_access::read_only, now + share),
                            place};
        } catch (const error& refused) {
            const auto reason = refused.reason();
            if (reason != errc::no_such_domain && reason != errc::timed_out &&
                reason != errc::primary_lost)
                throw;
            if (!first_refusal || first_refusal->reason() == errc::no_such_domain)
                first_refusal = refused;
        }
    }
    throw error{*first_refusal};
}

bool primary_alive(std::string_view domain_name)
{
    const rendezvous place{domain_name};
    if (!place.exists())
        return false;
    place.check();
    std::error_code ignored;
    if (!std::filesystem::exists(place.lock_file(), ignored))
        return false;
    return lock_description{place.lock_file(), lock_description::open_mode::existing}.is_locked(
        lock_description::primary_byte);
}

}  // namespace cohort::secondary
