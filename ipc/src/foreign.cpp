#include "cohort/ipc/foreign.hpp"

#include "cohort/base/error.hpp"
#include "cohort/ipc/socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cohort::ipc {
namespace {

template <typename Head>
std::vector<std::byte> with_behind(const Head& head, std::span<const std::byte> payload)
{
    std::vector<std::byte> all(sizeof head + payload.size());
    std::memcpy(all.data(), &head, sizeof head);
    std::ranges::copy(payload, all.data() + sizeof head);
    return all;
}

file_descriptor file_of(std::span<const std::byte> payload)
{
    file_descriptor made{::memfd_create("cohort.reply", MFD_CLOEXEC)};
    for (std::size_t at = 0; made && at != payload.size();) {
        const auto wrote = ::write(made.get(), payload.data() + at, payload.size() - at);
        if (wrote <= 0)
            return {};
        at += static_cast<std::size_t>(wrote);
    }
    return made;
}

/// Nothing when the descriptor is no file of a size that a reply can have.
std::optional<std::vector<std::byte>> payload_in(int file)
{
    struct stat about {};
    if (::fstat(file, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size < 0 ||
        static_cast<std::size_t>(about.st_size) > max_boxed_payload)
        return std::nullopt;
    std::vector<std::byte> payload(static_cast<std::size_t>(about.st_size));
    for (std::size_t at = 0; at != payload.size();) {
        const auto got =
            ::pread(file, payload.data() + at, payload.size() - at, static_cast<off_t>(at));
        if (got <= 0)
            return std::nullopt;
        at += static_cast<std::size_t>(got);
    }
    return payload;
}

answer refused_answer(std::string_view why)
{
    answer given{.peer = {}, .what = verdict::refused, .payload = {}};
    const auto bytes = std::as_bytes(std::span{why});
    given.payload.assign(bytes.begin(), bytes.end());
    return given;
}

answer read_reply(std::span<const std::byte> bytes, std::vector<file_descriptor> fds)
{
    const auto* head = wire::with_payload<wire::reply>(bytes, wire::kind::reply);
    if (!head || (head->in_file != 0 && fds.empty()))
        return refused_answer("the answer is not one of cohort");
    answer given{.peer = {},
                 .what = head->refused != 0 ? verdict::refused : verdict::replied,
                 .payload = {}};
    if (head->in_file != 0) {
        auto payload = payload_in(fds.front().get());
        if (!payload)
            return refused_answer("the answer came in a file that cannot be read");
        given.payload = std::move(*payload);
        fds.erase(fds.begin());
    } else {
        const auto behind = bytes.subspan(sizeof *head);
        given.payload.assign(behind.begin(), behind.end());
    }
    given.fds = std::move(fds);
    return given;
}

}  // namespace

answer ask_over_socket(const std::string& socket, std::string_view action, std::string_view text,
                       std::span<const int> fds, deadline until)
{
    if (!fixed_name<64>::fits(action) || text.size() > wire::max_payload_behind ||
        fds.size() > max_message_fds)
        return refused_answer(
            fmt::format("an observer asks with at most 63 characters, {} bytes and {} "
                        "descriptors",
                        wire::max_payload_behind, max_message_fds));
    try {
        const auto connection = connect_to(socket, until);
        const wire::question asked{.id = 1, .action = fixed_name<64>{action}};
        if (!send_message(connection.get(), with_behind(asked, std::as_bytes(std::span{text})),
                          fds))
            return {.peer = {}, .what = verdict::died, .payload = {}};
        if (!wait_readable(connection.get(), until))
            return {.peer = {}, .what = verdict::timed_out, .payload = {}};
        alignas(8) std::array<std::byte, wire::max_bytes> buffer;
        auto received = receive_message(connection.get(), buffer);
        if (received.status != received_message::status::message)
            return {.peer = {}, .what = verdict::died, .payload = {}};
        return read_reply(std::span{buffer}.first(received.bytes), std::move(received.fds));
    } catch (const error& refused) {
        if (refused.reason() == errc::no_such_domain)
            return {.peer = {}, .what = verdict::died, .payload = {}};
        if (refused.reason() == errc::timed_out)
            return {.peer = {}, .what = verdict::timed_out, .payload = {}};
        return refused_answer(refused.what());
    }
}

std::optional<foreign_request> read_question(std::span<const std::byte> bytes) noexcept
{
    const auto* head = wire::with_payload<wire::question>(bytes, wire::kind::question);
    if (!head || head->action.empty())
        return std::nullopt;
    return foreign_request{head->id, head->action.view(), bytes.subspan(sizeof *head)};
}

courier::receipt send_reply(int connection, std::uint64_t id, const letter& sent)
{
    wire::reply head{.id = id, .refused = sent.kind == message_kind::refusal ? 1u : 0u};
    std::vector<int> fds{sent.fds.begin(), sent.fds.end()};
    file_descriptor file;
    auto payload = sent.payload;
    if (payload.size() > wire::max_payload_behind) {
        file = file_of(payload);
        if (!file)
            return {courier::outcome::refused, fmt::format("no file of {} bytes can be made: {}",
                                                           payload.size(), describe_errno(errno))};
        head.in_file = 1;
        fds.insert(fds.begin(), file.get());
        payload = {};
    }
    if (fds.size() > max_message_fds)
        return {courier::outcome::refused,
                fmt::format("{} descriptors exceed {}", fds.size(), max_message_fds)};
    if (send_message(connection, with_behind(head, payload), fds))
        return {};
    return {courier::outcome::no_such_member, "it does not listen any more"};
}

}  // namespace cohort::ipc
