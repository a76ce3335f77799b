#include "measure.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cohort::bench {
namespace {

spread spread_of(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    const auto middle = values.size() / 2;
    const double median =
        values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    return {median, values.front(), values.back()};
}

nlohmann::json to_json(const spread& values)
{
    return {{"median", values.median}, {"min", values.min}, {"max", values.max}};
}

std::string short_number(double value)
{
    const double size = std::abs(value);
    return size >= 1000 ? fmt::format("{:.0f}", value)
           : size >= 10 ? fmt::format("{:.1f}", value)
                        : fmt::format("{:.2f}", value);
}

}  // namespace

std::string row::shortfall() const
{
    if (limit && ours.median > *limit)
        return fmt::format("{}: {} {} is over the limit of {}", name, short_number(ours.median),
                           unit, short_number(*limit));
    for (const auto& [peer, least] : target) {
        const auto reached = ratio.find(peer);
        if (reached == ratio.end())
            return fmt::format("{}: {} was not there to be measured", name, peer);
        if (reached->second < least)
            return fmt::format("{}: {:.2f} x {} is under the target of {:.2f} x", name,
                               reached->second, peer, least);
    }
    return {};
}

row run(const measurement& what, std::size_t wanted_rounds)
{
    const auto rounds = std::min(wanted_rounds, what.most_rounds);
    row result{.name = what.name,
               .unit = what.unit,
               .wanted = what.wanted,
               .pages = what.pages,
               .rounds = rounds,
               .limit = what.limit};
    std::vector<double> ours;
    std::map<std::string, std::vector<double>> theirs;
    for (std::size_t i = 0; i != rounds + 1; ++i) {
        const bool warm = i != 0;
        const double mine = what.ours();
        if (warm)
            ours.push_back(mine);
        for (const auto& each : what.peers) {
            if (!each.run)
                continue;
            const double value = each.run();
            if (warm)
                theirs[each.name].push_back(value);
        }
    }
    result.ours = spread_of(std::move(ours));
    for (auto& [name, values] : theirs) {
        const auto peer = spread_of(std::move(values));
        result.peers[name] = peer;
        result.ratio[name] = what.wanted == better::lower ? peer.median / result.ours.median
                                                          : result.ours.median / peer.median;
    }
    for (const auto& each : what.peers)
        if (each.target)
            result.target[each.name] = *each.target;
    return result;
}

std::string table_of(const std::vector<row>& rows)
{
    auto text = fmt::format("{:<34} {:>6} {:>8} {:>22} {:>10} {:>22} {:>8} {:>8}\n", "measurement",
                            "rounds", "unit", "ours (min - max)", "peer", "theirs (min - max)",
                            "ratio", "target");
    const auto shown = [](const spread& values) {
        return fmt::format("{} ({} - {})", short_number(values.median), short_number(values.min),
                           short_number(values.max));
    };
    for (const auto& each : rows) {
        auto name = each.name;
        auto ours = shown(each.ours);
        if (each.peers.empty())
            text += fmt::format("{:<34} {:>6} {:>8} {:>22}\n", name, each.rounds, each.unit, ours);
        for (const auto& [peer, values] : each.peers) {
            const auto target = each.target.find(peer);
            text += fmt::format("{:<34} {:>6} {:>8} {:>22} {:>10} {:>22} {:>8} {:>8}\n", name,
                                name.empty() ? "" : fmt::format("{}", each.rounds),
                                name.empty() ? "" : each.unit, ours, peer, shown(values),
                                short_number(each.ratio.at(peer)),
                                target == each.target.end() ? "-" : short_number(target->second));
            name.clear();
            ours.clear();
        }
    }
    return text;
}

std::string json_of(const std::vector<row>& rows)
{
    auto list = nlohmann::json::array();
    for (const auto& each : rows) {
        auto peers = nlohmann::json::object();
        for (const auto& [name, values] : each.peers)
            peers[name] = to_json(values);
        list.push_back({{"name", each.name},
                        {"unit", each.unit},
                        {"better", each.wanted == better::lower ? "lower" : "higher"},
                        {"ours", to_json(each.ours)},
                        {"peers", std::move(peers)},
                        {"ratio", each.ratio},
                        {"target", each.target},
                        {"rounds", each.rounds},
                        {"pages", each.pages}});
    }
    return list.dump(2) + "\n";
}

}  // namespace cohort::bench
