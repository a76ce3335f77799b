#include "cohort/primary/succession.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/ipc/attach.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/primary/adoption.hpp"

#include <array>
#include <optional>
#include <thread>

#include <fmt/format.h>

namespace cohort::primary {
namespace {

/// True when the primary says that it has let go, false when it hung up.
bool await_let_go(int connection, deadline until)
{
    namespace wire = ipc::wire;
    const wire::member_message please{.head = {.kind = wire::kind::let_go}};
    if (!ipc::send_message(connection, wire::bytes_of(please)))
        return false;
    if (!ipc::wait_readable(connection, until))
        throw error{errc::timed_out,
                    fmt::format("the primary, pid {}, does not let go in time; is it stopped?",
                                ipc::peer_of(connection).pid)};
    alignas(8) std::array<std::byte, wire::max_bytes> buffer;
    const auto received = ipc::receive_message(connection, buffer);
    return received.status == ipc::received_message::status::message &&
           wire::as<wire::member_message>(std::span{buffer}.first(received.bytes),
                                          wire::kind::let_go) != nullptr;
}

/// What the live primary has handed out; empty when it died meanwhile.
struct handed_out {
    file_descriptor connection;
    std::optional<region_mapping> region;
};

handed_out ask_primary(const start_options& options, const rendezvous& place, deadline until)
{
    handed_out got;
    try {
        got.connection = ipc::connect_to(place.primary_socket(), until);
        got.region.emplace(ipc::receive_region(got.connection.get(), place,
                                               ipc::wire::attach_as::successor, options.member_name,
                                               {}, map_access::read_write, until));
    } catch (const error& refused) {
        if (refused.reason() != errc::no_such_domain && refused.reason() != errc::primary_lost)
            throw;
        return {};  // the lock tells whether it is dead
    }
    COHORT_FAULT_POINT("handover.mapped");
    if (!await_let_go(got.connection.get(), until))
        got.connection = {};
    COHORT_FAULT_POINT("handover.allowed");
    return got;
}

}  // namespace

succession succeed(const start_options& options, const rendezvous& place, deadline until)
{
    lock_description lock{place.lock_file(), lock_description::open_mode::existing};
    std::optional<handed_out> got;
    while (!lock.try_lock(lock_description::primary_byte)) {
        if (steady_clock::now() >= until)
            throw error{errc::timed_out,
                        fmt::format("the primary of domain \"{}\" did not hand over in time; see "
                                    "\"cohort ps\"",
                                    place.name())};
        if (got)
            std::this_thread::sleep_for(1ms);  // it is just dying, or somebody else was faster
        got.reset();                           // one mapping at a time
        got.emplace(ask_primary(options, place, until));
    }
    const bool alive = (got && got->region) || lock.is_locked(lock_description::life_byte);
    if (!alive || !lock.is_at(place.lock_file()))
        throw error{
            errc::no_such_domain,
            fmt::format("there is nothing to take over: domain \"{}\" has neither a primary "
                        "nor a member; start one with cohortd",
                        place.name())};
    COHORT_FAULT_POINT("handover.locked");
    if (got && got->region)
        return {std::move(lock), std::move(*got->region), std::move(got->connection)};
    return {std::move(lock), adopt_region(options, place, lock, until), {}};
}

void tell_took_over(const file_descriptor& predecessor) noexcept
{
    namespace wire = ipc::wire;
    const wire::member_message done{.head = {.kind = wire::kind::took_over}};
    if (predecessor)
        static_cast<void>(ipc::send_message(predecessor.get(), wire::bytes_of(done)));
}

}  // namespace cohort::primary
