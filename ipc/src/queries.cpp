#include "cohort/ipc/queries.hpp"

#include "cohort/base/error.hpp"
#include "cohort/ipc/reports.hpp"
#include "cohort/recovery/audit.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <unistd.h>

namespace cohort::ipc {
namespace {

using nlohmann::json;

/// The text of JSON whatever bytes are in it: names may hold any.
std::string text_of(const json& value)
{
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// The first column of each row: its name.
json names_in(const table& listed)
{
    auto names = json::array();
    for (const auto& row : listed.as_json())
        names.push_back(row.at(listed.columns.front()));
    return names;
}

/// The row of that name, or null.
json row_of(const table& listed, std::string_view name)
{
    for (auto& row : listed.as_json())
        if (const auto& value = row.at(listed.columns.front());
            value.is_string() ? value.get<std::string>() == name : value.dump() == name)
            return row;
    return nullptr;
}

json zones_of_kind(const region_layout& region, std::string_view kind)
{
    auto found = json::array();
    for (auto& row : list_zones(region).as_json())
        if (row.at("kind") == kind)
            found.push_back(std::move(row));
    return found;
}

json zone_named(const region_layout& region, std::string_view kind, std::string_view name)
{
    for (auto& row : zones_of_kind(region, kind))
        if (row.at("name") == name)
            return row;
    return nullptr;
}

json as_json(const audit_report& found)
{
    return {
        {"clean", found.clean()}, {"pools", list_audit(found).as_json()}, {"faults", found.faults}};
}

bool is_path(std::string_view path) noexcept
{
    return path.starts_with('/') && path.size() <= fixed_name<64>::max_length &&
           path.find(',') == std::string_view::npos;
}

}  // namespace

queries::queries(domain& shared) : domain_{shared}
{
    add_self();
    add_lists();
    add_reports();
    add_ethdev();
}

void queries::add(std::string_view path, std::string_view help, report made)
{
    entries_.emplace(path, entry{std::string{help}, [made = std::move(made)](auto parameters) {
                                     return text_of(made(parameters));
                                 }});
}

void queries::add_self()
{
    add("/", "Paths that this member answers. Takes no parameters", [this](std::string_view) {
        const std::lock_guard guard{mutex_};
        auto paths = json::array();
        for (const auto& [path, known] : entries_)
            paths.push_back(path);
        return paths;
    });
    add("/help", "What a path answers. Parameters: string path", [this](std::string_view path) {
        const std::lock_guard guard{mutex_};
        json given;
        if (const auto found = entries_.find(path); found != entries_.end())
            given[std::string{path}] = found->second.help;
        return given;
    });
    add("/info", "Version, and who answers. Takes no parameters",
        [this](std::string_view) { return about_this_member(); });
}

json queries::about_this_member() const
{
    const auto& region = domain_.region();
    const auto self = domain_.self();
    const auto& member = region.members.members[self.id];
    const auto word = region.header.primary.load(std::memory_order_acquire);
    const member_ref primary{static_cast<member_id>(word >> 32), static_cast<std::uint32_t>(word)};
    const bool alive = domain_.members().members().is_live(primary);
    return {{"version", "cohort " COHORT_VERSION},
            {"pid", ::getpid()},
            {"max_output_len", max_telemetry_bytes},
            {"domain", domain_.name()},
            {"member", self.id},
            {"name", member.name.view()},
            {"role", member.role == member_role::primary ? "primary" : "secondary"},
            {"epoch", region.header.epoch.load(std::memory_order_relaxed)},  // for display
            {"primary", alive ? json(primary.id) : json{}}};
}

void queries::add_lists()
{
    const auto add_list = [this](std::string path, const std::string& of, auto listed) {
        add(path, "Names of " + of + ". Takes no parameters",
            [this, listed](std::string_view) { return names_in(listed(domain_.region())); });
    };
    const auto add_info = [this](const std::string& path, const std::string& of, auto listed) {
        add(path, "State of one " + of + ". Parameters: string name",
            [this, listed](std::string_view name) {
                return row_of(listed(domain_.region()), name);
            });
    };
    add_list("/ring/list", "rings", list_rings);
    add_info("/ring/info", "ring", list_rings);
    add_list("/mempool/list", "pools", list_pools);
    add_info("/mempool/info", "pool", list_pools);
    add_list("/heap/list", "heaps", list_heaps);
    add_info("/heap/info", "heap", list_heaps);
    add_list("/port/list", "ports", list_ports);
    add_info("/port/info", "port", list_ports);
    for (const auto* kind : {"memzone", "object"}) {
        add(fmt::format("/{}/list", kind), fmt::format("Names of {}s. Takes no parameters", kind),
            [this, kind](std::string_view) {
                auto names = json::array();
                for (const auto& zone : zones_of_kind(domain_.region(), kind))
                    names.push_back(zone.at("name"));
                return names;
            });
        add(fmt::format("/{}/info", kind),
            fmt::format("State of one {}. Parameters: string name", kind),
            [this, kind](std::string_view name) {
                return zone_named(domain_.region(), kind, name);
            });
    }
}

void queries::add_reports()
{
    const auto add_table = [this](std::string_view path, const std::string& help, auto listed) {
        add(path, help + ". Takes no parameters",
            [this, listed](std::string_view) { return listed(domain_.region()).as_json(); });
    };
    add_table("/members", "Who is attached", list_members);
    add_table("/deaths", "Members that died or left, and what became of their buffers",
              list_deaths);
    add_table("/action/list", "Actions that members offer", list_actions);
    add_table("/lanes", "Attached threads", list_lanes);
    add_table("/ring/stages", "Stages of all staged rings, and who holds their oldest elements",
              list_stages);
    add_table("/port/queues", "Queues of all ports, and who polls them", list_queues);
    add_table("/memseg/list", "Memseg lists and their pages", list_memory);
    add("/mempool/holders", "Who holds buffers of a pool. Parameters: string name",
        [this](std::string_view name) { return list_holders(domain_.region(), name).as_json(); });
    add("/audit", "Whether every buffer is in exactly one place. Takes no parameters",
        [this](std::string_view) {
            // The thread that answers is the one that would look for pages that nobody asked for.
            audit_report found;
            for (int tries = 0; tries == 0 || (tries != 3 && !found.clean()); ++tries) {
                domain_.segments().give_back_strays(domain_.members().who(), true);
                found = audit(domain_.mapping(), 20ms);
            }
            return as_json(found);
        });
}

void queries::on(std::string_view path, std::string_view help, handler asked)
{
    if (!is_path(path))
        throw error{
            errc::invalid_argument,
            fmt::format("the path \"{}\" of a query must begin with \"/\", have no \",\" and "
                        "at most {} characters",
                        path, fixed_name<64>::max_length)};
    const std::lock_guard guard{mutex_};
    if (!entries_.try_emplace(std::string{path}, entry{std::string{help}, std::move(asked)}).second)
        throw error{errc::exists,
                    fmt::format("query \"{}\" is registered in this process already", path)};
}

bool queries::off(std::string_view path)
{
    const std::lock_guard guard{mutex_};
    const auto found = entries_.find(path);
    if (found == entries_.end())
        return false;
    entries_.erase(found);
    return true;
}

bool queries::knows(std::string_view path) const
{
    const std::lock_guard guard{mutex_};
    return entries_.contains(path);
}

std::string queries::answer(std::string_view asked) const
{
    const auto comma = std::min(asked.find(','), asked.size());
    const auto path = asked.substr(0, comma);
    const auto parameters = asked.substr(std::min(comma + 1, asked.size()));
    handler called;
    {
        const std::lock_guard guard{mutex_};
        if (const auto found = entries_.find(path); found != entries_.end())
            called = found->second.asked;
    }
    std::string value = "null";
    try {
        if (called)
            value = called(parameters);
    } catch (const error& refused) {
        const auto reason = refused.reason();
        if (reason != errc::not_found && reason != errc::invalid_argument)  // no such object: null
            value = text_of(refused.what());
    } catch (...) {
        value = text_of(describe_thrown());
    }
    return "{" + text_of(path) + ":" + value + "}";
}

}  // namespace cohort::ipc
