#include "activity.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort::tool {
namespace {

using json = nlohmann::json;

/// "950", "12.3k", "4.56M".
std::string short_number(double value)
{
    for (const auto& [size, letter] : {std::pair{1e9, 'G'}, {1e6, 'M'}, {1e3, 'k'}})
        if (value >= size)
            return fmt::format("{:.4g}{}", value / size, letter);
    return fmt::format("{:.4g}", value);
}

std::string bar(double share)
{
    constexpr std::size_t cells = 10;
    const auto full = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * cells + 0.5);
    return "[" + std::string(full, '#') + std::string(cells - full, ' ') + "]";
}

std::string percent(const json& share)
{
    return share.is_null() ? "?" : fmt::format("{:.0f}%", share.get<double>() * 100);
}

/// One kind of thing: a heading and a line for each.
struct section {
    std::string heading;
    std::vector<std::string> lines;
};

section rings_of(const json& activity)
{
    section shown{fmt::format("{:28} {:>9} {:12} {:>5} {:>9} {:>9}", "RING", "elem/s", "fill", "",
                              "stalls", "drops"),
                  {}};
    for (const auto& ring : activity.at("rings"))
        shown.lines.push_back(fmt::format(
            "{:28.28} {:>9} {} {:>5} {:>9} {:>9}", ring.at("ring").get<std::string>(),
            short_number(ring.at("rate")), bar(ring.at("fill")), percent(ring.at("fill")),
            ring.at("stalls").get<std::uint64_t>(), ring.at("drops").get<std::uint64_t>()));
    return shown;
}

section pools_of(const json& activity)
{
    section shown{fmt::format("{:24} {:>9} {:>9} {:>9}  {}", "POOL", "in use", "of", "failed",
                              "held most by"),
                  {}};
    for (const auto& pool : activity.at("pools")) {
        const auto holder = pool.at("holder").get<std::string>();
        shown.lines.push_back(fmt::format(
            "{:24.24} {:>9} {:>9} {:>9}  {}", pool.at("pool").get<std::string>(),
            pool.at("in_use").get<std::uint64_t>(), pool.at("count").get<std::uint64_t>(),
            pool.at("failed").get<std::uint64_t>(),
            holder.empty()
                ? "-"
                : fmt::format("{} ({})", holder, pool.at("holding").get<std::uint64_t>())));
    }
    return shown;
}

section ports_of(const json& activity)
{
    section shown{fmt::format("{:28} {:>12} {:>12} {:>9}", "PORT", "rx/s", "tx/s", "drops"), {}};
    for (const auto& port : activity.at("ports"))
        shown.lines.push_back(
            fmt::format("{:28.28} {:>12} {:>12} {:>9}", port.at("port").get<std::string>(),
                        short_number(port.at("rx_rate")), short_number(port.at("tx_rate")),
                        port.at("drops").get<std::uint64_t>()));
    return shown;
}

section lanes_of(const json& activity)
{
    section shown{fmt::format("{:>4} {:24} {:28} {:>5}", "LANE", "name", "member", "busy"), {}};
    for (const auto& lane : activity.at("lanes"))
        shown.lines.push_back(
            fmt::format("{:>4} {:24.24} {:28.28} {:>5} {}", lane.at("lane").get<std::uint64_t>(),
                        lane.at("name").get<std::string>(), lane.at("member").get<std::string>(),
                        percent(lane.at("busy")),
                        lane.at("busy").is_null() ? "" : bar(lane.at("busy").get<double>())));
    return shown;
}

/// How many lines each section gets: all when they fit, else in turn one for each.
std::vector<std::size_t> shares(const std::vector<section>& sections, std::size_t lines)
{
    std::vector<std::size_t> given(sections.size(), 0);
    for (bool some = true; some && lines != 0;) {
        some = false;
        for (std::size_t i = 0; i != sections.size() && lines != 0; ++i)
            if (given[i] != sections[i].lines.size()) {
                ++given[i];
                --lines;
                some = true;
            }
    }
    return given;
}

}  // namespace

std::vector<std::string> screen_of(const std::string& domain, const nlohmann::json& activity,
                                   std::size_t width, std::size_t height)
{
    std::vector<section> sections;
    for (auto& each :
         {rings_of(activity), pools_of(activity), ports_of(activity), lanes_of(activity)})
        if (!each.lines.empty())
            sections.push_back(each);
    std::vector<std::string> screen{
        fmt::format("cohort top  domain {}  {} members  {} lanes  over {:.1f} s  q: quit", domain,
                    activity.at("members").get<std::size_t>(), activity.at("lanes").size(),
                    activity.at("seconds").get<double>())};
    const auto headings = 1 + sections.size();
    const auto given = shares(sections, height > headings ? height - headings : 0);
    for (std::size_t i = 0; i != sections.size(); ++i) {
        const auto hidden = sections[i].lines.size() - given[i];
        auto heading = sections[i].heading;
        if (hidden != 0) {
            const auto note = fmt::format("(+{})", hidden);
            heading.replace(5, note.size(), note);  // behind the word, which has four letters
        }
        screen.push_back(heading);
        screen.insert(screen.end(), sections[i].lines.begin(),
                      sections[i].lines.begin() + static_cast<std::ptrdiff_t>(given[i]));
    }
    screen.resize(std::min(screen.size(), height));
    for (auto& line : screen)
        line.resize(std::min(line.size(), width));
    return screen;
}

}  // namespace cohort::tool
