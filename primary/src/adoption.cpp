#include "cohort/primary/adoption.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/attach.hpp"
#include "cohort/ipc/socket.hpp"
#include "foreign_files.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <poll.h>
#include <unistd.h>

namespace cohort::primary {
namespace {

constexpr auto answer_patience = 250ms;  // for all members together, before help is looked for

/// Members that were asked for the region and have not answered, and what the others said.
struct asked_members {
    std::vector<file_descriptor> connections;
    std::string refusals;

    void note(const error& refused)
    {
        if (refusals.empty() || refused.reason() != errc::no_such_domain)
            refusals = refused.what();
    }
};

asked_members ask_all(const start_options& options, const rendezvous& place, deadline soon)
{
    asked_members asked;
    std::error_code ignored;
    for (const auto& file : std::filesystem::directory_iterator{place.directory(), ignored}) {
        if (!file.path().filename().string().starts_with("member-"))
            continue;
        try {
            auto connection = ipc::connect_to(file.path().string(), soon);
            ipc::ask_for_region(connection.get(), place, ipc::wire::attach_as::adopter,
                                options.member_name, {});
            asked.connections.push_back(std::move(connection));
        } catch (const error& refused) {
            asked.note(refused);
        }
    }
    return asked;
}

/// What came over one connection, which is closed; nothing when that is not to be used.
std::optional<region_mapping> take(asked_members& asked, file_descriptor connection, deadline until)
{
    try {
        return ipc::take_region(connection.get(), map_access::read_write, until);
    } catch (const error& refused) {
        if (refused.reason() == errc::layout_mismatch)
            throw;
        asked.note(refused);
        return std::nullopt;
    }
}

std::optional<region_mapping> first_answer(asked_members& asked, deadline until)
{
    while (!asked.connections.empty()) {
        std::vector<pollfd> waited;
        for (const auto& connection : asked.connections)
            waited.push_back({connection.get(), POLLIN, 0});
        const int ready = ::poll(waited.data(), waited.size(), milliseconds_left(until));
        if (ready == 0 || (ready < 0 && errno != EINTR))
            return std::nullopt;
        for (std::size_t i = 0; ready > 0 && i != waited.size(); ++i)
            if (waited[i].revents != 0)
                if (auto region = take(asked, std::move(asked.connections[i]), until))
                    return region;
        std::erase_if(asked.connections, [](const auto& connection) { return !connection; });
    }
    return std::nullopt;
}

/// The segment files of the region in `control`, from the process that has them mapped.
memory::files borrow_segments(int pid, int control)
{
    std::array<memseg_list_layout, max_memseg_lists> lists;
    const auto at = offsetof(region_layout, memory) + offsetof(memory_layout, lists);
    if (::pread(control, static_cast<void*>(lists.data()), sizeof lists, static_cast<off_t>(at)) !=
        static_cast<ssize_t>(sizeof lists))
        throw error{errc::region_truncated,
                    fmt::format("what pid {} has mapped as the region ends before its lists of "
                                "memory; stop its members and start the primary anew",
                                pid)};
    memory::files files;
    for (std::size_t i = 0; i != lists.size(); ++i)
        if (lists[i].page_bytes != 0)
            files[i] = open_mapped_file(pid, lists[i].base);
    return files;  // the mapping refuses a region whose files are not all there
}

/// Shares the life of the domain through a description of this process's own.
file_descriptor share_life(const rendezvous& place)
{
    lock_description life{place.lock_file(), lock_description::open_mode::existing};
    life.share(lock_description::life_byte);
    return life.take();
}

/// The region as process `pid` has it mapped. The process need not run. Window, header, layout and
/// name prove that it is this domain's.
region_mapping borrow_region(int pid, const rendezvous& place, const region_place& where)
{
    region_files files;
    files.control = open_mapped_file(pid, where.window_base);
    if (!files.control)
        throw error{errc::no_permission,
                    fmt::format("pid {} does not answer, and /proc/{}/fd shows no region at {:#x}; "
                                "continue it, or run as its user in its PID namespace",
                                pid, pid, where.window_base)};
    files.segments = borrow_segments(pid, files.control.get());
    files.life = share_life(place);
    auto region = ipc::map_region(std::move(files), where, map_access::read_write);
    if (const auto name = region.layout().header.name.view(); name != place.name())
        throw error{errc::region_garbage,
                    fmt::format("pid {} serves domain \"{}\" and has the region of \"{}\" mapped; "
                                "stop it",
                                pid, place.name(), name)};
    log(log_level::info, "pid {} does not answer; its descriptors are used unasked", pid);
    return region;
}

/// The listener's process is known without its help: the kernel notes who called listen().
std::optional<region_mapping> borrow_from_any(asked_members& asked, const rendezvous& place,
                                              const lock_description& lock)
{
    const auto record = lock.read_place();
    if (!record)
        return std::nullopt;
    for (const auto& connection : asked.connections)
        try {
            ipc::check_server(connection.get(), place);
            return borrow_region(ipc::peer_of(connection.get()).pid, place, record->place);
        } catch (const error& refused) {
            asked.note(refused);
        }
    return std::nullopt;
}

}  // namespace

region_mapping adopt_region(const start_options& options, const rendezvous& place,
                            const lock_description& lock, deadline until)
{
    const auto soon = std::min(until, deadline_in(answer_patience));
    auto asked = ask_all(options, place, soon);
    if (auto handed_over = first_answer(asked, soon))
        return std::move(*handed_over);
    if (auto borrowed = borrow_from_any(asked, place, lock))
        return std::move(*borrowed);
    if (auto handed_over = first_answer(asked, until))
        return std::move(*handed_over);
    throw error{
        errc::timed_out,
        fmt::format("domain \"{}\" has members but none hands over the region{}{}; stop them or "
                    "wait for them to end",
                    place.name(), asked.refusals.empty() ? "" : ": ", asked.refusals)};
}

}  // namespace cohort::primary
