#include "cohort/ipc/member_service.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/dispatcher.hpp"
#include "cohort/ipc/foreign.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/telemetry.hpp"

#include <array>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cohort::ipc {
namespace {

/// Another description of the same file, for reading only.
file_descriptor reopen_read_only(int fd)
{
    return file_descriptor{
        ::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDONLY | O_CLOEXEC)};
}

}  // namespace

bool send_peer(int connection, member_ref member, int pidfd, int wake) noexcept
{
    const wire::member_message news{
        .head = {.kind = wire::kind::peer}, .member = member.id, .generation = member.generation};
    const std::array fds{pidfd, wake};
    return send_message(connection, wire::bytes_of(news), fds);
}

bool member_service::send_self(int connection)
{
    const auto pidfd = own_pidfd();
    return send_peer(connection, domain_.self(), pidfd.get(), own_wake_);
}

bool member_service::send_adopt(int connection)
{
    const auto pidfd = own_pidfd();
    const std::array fds{pidfd.get(), own_wake_};
    const wire::member_message hello{.head = {.kind = wire::kind::adopt},
                                     .member = domain_.self().id,
                                     .generation = domain_.self().generation};
    return send_message(connection, wire::bytes_of(hello), fds);
}

bool member_service::refuse(int connection, errc code, std::string_view sentence)
{
    const wire::attach_reply no{.refusal = static_cast<std::int32_t>(code),
                                .layout_hash = layout_hash(),
                                .sentence = fixed_name<256>{sentence}};
    static_cast<void>(send_message(connection, wire::bytes_of(no)));
    log(log_level::info, "refused an attach: {}", sentence);
    return false;
}

bool member_service::send_region(int connection, map_access access)
{
    const auto& header = domain_.region().header;
    const auto& files = domain_.mapping().files();
    wire::attach_reply yes{.layout_hash = header.layout_hash,
                           .window_base = header.window_base,
                           .window_bytes = header.window_bytes,
                           .region_bytes = header.region_bytes,
                           .sentence = {}};
    std::vector<file_descriptor> reopened;
    std::vector<int> fds;
    const auto add = [&](int fd) {
        if (access == map_access::read_only) {
            reopened.push_back(reopen_read_only(fd));
            fd = reopened.back().get();
        }
        fds.push_back(fd);
    };
    add(files.control.get());
    if (access == map_access::read_write)
        fds.push_back(files.life.get());
    for (std::size_t i = 0; i != files.segments.size(); ++i) {
        if (!files.segments[i])
            continue;
        yes.segment_lists |= 1u << i;
        add(files.segments[i].get());
    }
    return send_message(connection, wire::bytes_of(yes), fds);
}

bool member_service::on_message(dispatcher& loop, int connection, std::span<const std::byte> bytes,
                                std::vector<file_descriptor> fds)
{
    using wire::kind;
    if (telemetry_.contains(connection)) {
        const auto given =
            telemetry_answer(queries_, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        return send_message(connection, std::as_bytes(std::span{given}));
    }
    if (const auto* wish = wire::as<wire::attach_request>(bytes, kind::attach_request)) {
        if (wish->layout_hash != layout_hash())
            return refuse(
                connection, errc::layout_mismatch,
                fmt::format("the domain has layout {:#018x} but the newcomer was built with "
                            "{:#018x}; run the same version of cohort everywhere",
                            layout_hash(), wish->layout_hash));
        if (wish->as == wire::attach_as::observer)
            return send_region(connection, map_access::read_only);
        if (wish->as == wire::attach_as::adopter)
            return send_region(connection, map_access::read_write);
        return refuse(connection, errc::primary_lost,
                      "this member is no primary; attach at primary.sock");
    }
    if (const auto* wanted = wire::as<wire::port_files_message>(bytes, kind::port_files_wanted))
        return send_port_files(connection, {wanted->index, wanted->generation});
    if (const auto* brought = wire::as<wire::port_files_message>(bytes, kind::port_files)) {
        domain_.ports().keep({brought->index, brought->generation}, std::move(fds));
        return send_port_files(connection, {brought->index, brought->generation});
    }
    if (const auto* ahead = wire::as<wire::parcel>(bytes, kind::parcel))
        return ahead->member != 0 && ahead->member < max_members &&
               loop.channel().post().take_parcel(
                   {static_cast<member_id>(ahead->member), ahead->generation}, ahead->number,
                   std::move(fds));
    if (wire::with_payload<wire::question>(bytes, kind::question))
        return answer(loop, connection, bytes, std::move(fds));
    const auto* news = wire::as<wire::member_message>(bytes, kind::peer);
    const auto* adopter = wire::as<wire::member_message>(bytes, kind::adopt);
    const auto* about = news ? news : adopter;
    if (news && !brings_news(loop, connection))
        return false;
    if (!about || about->member == 0 || about->member >= max_members || fds.size() != 2)
        return wire::as<wire::member_message>(bytes, kind::welcome) != nullptr;
    if (!domain_.members().members().is_live(about->ref()))
        return news != nullptr;  // it may have died meanwhile; nobody else adopts
    if (about->ref() != domain_.self())
        loop.learn(about->ref(), std::move(fds[0]), std::move(fds[1]));
    if (adopter) {
        loop.set_primary_link(connection);
        log(log_level::info, "a new primary, member {}, has adopted the domain", about->member);
        return send_self(connection);
    }
    return true;
}

/// Those that this member has; an answer without any says that it has none.
bool member_service::send_port_files(int connection, port_key port)
{
    const auto files = domain_.ports().kept_files(port);
    std::vector<int> fds;
    for (const auto& file : files)
        fds.push_back(file.get());
    const wire::port_files_message answer{.head = {.kind = wire::kind::port_files},
                                          .index = port.index,
                                          .generation = port.generation};
    return send_message(connection, wire::bytes_of(answer), fds);
}

bool member_service::answer(dispatcher& loop, int connection, std::span<const std::byte> bytes,
                            std::vector<file_descriptor> fds)
{
    const auto asked = read_question(bytes);
    if (!asked)
        return false;
    loop.channel().handle_foreign(
        asked->action, asked->id, asked->payload, std::move(fds),
        [&](const letter& given) { return send_reply(connection, asked->id, given); });
    return true;
}

bool member_service::on_telemetry(dispatcher&, int connection)
{
    telemetry_.insert(connection);
    const auto greeting = telemetry_greeting();
    return send_message(connection, std::as_bytes(std::span{greeting}));
}

bool member_service::brings_news(const dispatcher& loop, int connection) const
{
    return connection == loop.primary_link();
}

void member_service::on_closed(dispatcher& loop, int connection)
{
    telemetry_.erase(connection);
    if (connection != loop.primary_link())
        return;
    loop.set_primary_link(-1);
    log(log_level::warning, "the primary of domain \"{}\" is lost; members carry on",
        domain_.name());
}

}  // namespace cohort::ipc
