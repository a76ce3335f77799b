#include "doctor.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

namespace cohort::tool {
namespace {

std::vector<check> all()
{
    std::vector<check> checks;
    for (auto part : {kernel_checks, limit_checks, memory_checks, place_checks, domain_checks})
        for (auto& each : part())
            checks.push_back(std::move(each));
    return checks;
}

std::string_view to_text(gravity how_bad)
{
    return how_bad == gravity::fault ? "fault" : "weakness";
}

}  // namespace

std::vector<diagnosis> examine(const std::string& domain)
{
    std::vector<diagnosis> found;
    for (const auto& each : all())
        try {
            if (auto answer = each.ask(domain))
                found.push_back({each.id, std::move(*answer)});
        } catch (const std::exception& failure) {
            found.push_back(
                {each.id,
                 {gravity::weakness, fmt::format("this cannot be checked: {}", failure.what()),
                  "what it looks for may be there", "see the reason above"}});
        }
    return found;
}

std::vector<std::string_view> all_checks()
{
    std::vector<std::string_view> ids;
    for (const auto& each : all())
        ids.push_back(each.id);
    return ids;
}

std::string to_text(const std::vector<diagnosis>& found)
{
    std::string text;
    for (const auto& [id, what] : found)
        text += fmt::format("{}: {}\n  {}\n  so: {}\n  do: {}\n", to_text(what.how_bad), id,
                            what.fact, what.cause, what.remedy);
    const auto faults = std::count_if(found.begin(), found.end(), [](const auto& each) {
        return each.found.how_bad == gravity::fault;
    });
    return text + fmt::format("{} checks: {} faults, {} weaknesses\n", all_checks().size(), faults,
                              found.size() - static_cast<std::size_t>(faults));
}

nlohmann::json to_json(const std::vector<diagnosis>& found)
{
    auto list = nlohmann::json::array();
    for (const auto& [id, what] : found)
        list.push_back({{"check", id},
                        {"gravity", to_text(what.how_bad)},
                        {"fact", what.fact},
                        {"cause", what.cause},
                        {"remedy", what.remedy}});
    return {{"checks", all_checks()}, {"findings", list}};
}

std::optional<std::uint64_t> number_in(const std::string& file)
{
    std::uint64_t number = 0;
    std::ifstream in{file};
    return in >> number ? std::optional{number} : std::nullopt;
}

std::optional<std::uint64_t> number_of(const std::string& file, std::string_view key)
{
    std::ifstream in{file};
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ':')
            return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10);
    return std::nullopt;
}

}  // namespace cohort::tool
