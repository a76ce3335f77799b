#include "cohort/ipc/port_courier.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/attach.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/wire.hpp"

#include <array>

namespace cohort::ipc {
namespace {

constexpr auto courier_patience = 1s;  // for each member that is asked

std::vector<member_ref> other_members(domain& shared)
{
    std::vector<member_ref> all;
    shared.members().members().for_each_member([&](member_id id, member_layout&, member_word word) {
        if (id != shared.self().id && word.state == member_state::live)
            all.push_back({id, word.generation});
    });
    return all;
}

/// Sends one message about a port to a member and waits for its answer. Nothing when it does not
/// answer, or not as it should.
std::optional<received_message> ask_about_port(const rendezvous& place, member_ref member,
                                               port_key port, wire::kind what,
                                               std::span<const int> fds)
{
    const auto until = deadline_in(courier_patience);
    try {
        const auto connection = connect_to(place.member_socket(member.id), until);
        check_server(connection.get(), place);
        const wire::port_files_message message{
            .head = {.kind = what}, .index = port.index, .generation = port.generation};
        if (!send_message(connection.get(), wire::bytes_of(message), fds) ||
            !wait_readable(connection.get(), until))
            return std::nullopt;
        alignas(8) std::array<std::byte, wire::max_bytes> buffer;
        auto answer = receive_message(connection.get(), buffer);
        const auto* about = wire::as<wire::port_files_message>(
            std::span{buffer}.first(answer.bytes), wire::kind::port_files);
        if (answer.status != received_message::status::message || !about ||
            about->index != port.index || about->generation != port.generation)
            return std::nullopt;
        return answer;
    } catch (const error& refused) {
        log(log_level::debug, "member {} was asked about a port: {}", member.id, refused.what());
        return std::nullopt;
    }
}

}  // namespace

port_host::courier make_port_courier(domain& shared, const rendezvous& place)
{
    return {.fetch =
                [&](port_key port) {
                    for (const auto member : other_members(shared))
                        if (auto answer = ask_about_port(place, member, port,
                                                         wire::kind::port_files_wanted, {});
                            answer && !answer->fds.empty())
                            return std::move(answer->fds);
                    return std::vector<file_descriptor>{};
                },
            .deposit =
                [&](port_key port, const std::vector<file_descriptor>& files) {
                    std::vector<int> fds;
                    for (const auto& file : files)
                        fds.push_back(file.get());
                    const auto members = other_members(shared);
                    for (const auto member : members)
                        if (ask_about_port(place, member, port, wire::kind::port_files, fds))
                            return true;
                    return members.empty();
                }};
}

}  // namespace cohort::ipc
