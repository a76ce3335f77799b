#include "events.hpp"

#include "cohort/ipc/events.hpp"
#include "cohort/memory/memseg_walk.hpp"

#include <cstdio>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cohort::tool {
namespace {

constexpr auto look_every = 20ms;

bool is_about_object(ipc::event_kind what) noexcept
{
    return what == ipc::event_kind::object_created || what == ipc::event_kind::object_destroyed;
}

bool is_about_growth(ipc::event_kind what) noexcept
{
    return what == ipc::event_kind::pool_grown;
}

bool is_about_memory(ipc::event_kind what) noexcept
{
    return what == ipc::event_kind::memory_grown || what == ipc::event_kind::memory_shrunk;
}

std::string text_of(const ipc::domain_event& event)
{
    const auto what = ipc::to_text(event.what);
    const auto lost = event.lost == 0 ? "" : fmt::format(" ({} before it unseen)", event.lost);
    if (is_about_object(event.what))
        return fmt::format("{}: {} \"{}\", {} bytes, by member {}{}", what, to_text(event.object),
                           event.name, event.bytes, event.member.id, lost);
    if (is_about_growth(event.what))
        return fmt::format("{}: \"{}\", {} objects{}", what, event.name, event.objects, lost);
    if (is_about_memory(event.what))
        return fmt::format("{}: list {}, {} bytes{}", what, event.list, event.bytes, lost);
    return fmt::format("{}: {} \"{}\"{}", what, event.member.id, event.name, lost);
}

std::string json_of(const ipc::domain_event& event)
{
    nlohmann::json line{{"event", ipc::to_text(event.what)}, {"lost", event.lost}};
    if (is_about_memory(event.what)) {
        line["list"] = event.list;
        line["bytes"] = event.bytes;
    } else {
        line["member"] = event.member.id;
        line["name"] = event.name;
    }
    if (is_about_growth(event.what))
        line["objects"] = event.objects;
    if (is_about_object(event.what)) {
        line["kind"] = to_text(event.object);
        line["bytes"] = event.bytes;
    }
    return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

int print_events(const region_layout& region, event_format format, deadline until)
{
    const bool json = format == event_format::json;
    ipc::event_watch watch{region};
    bool read = std::puts(json ? "[]" : "looking") >= 0;
    while (read && std::fflush(stdout) == 0 && steady_clock::now() < until) {
        watch.look([&](const ipc::domain_event& event) {
            read = read && std::puts((json ? json_of(event) : text_of(event)).c_str()) >= 0;
        });
        std::this_thread::sleep_for(look_every);
    }
    return 0;
}

}  // namespace cohort::tool
