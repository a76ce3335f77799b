#include "table.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort::tool {
namespace {

std::string cell_text(const nlohmann::json& cell)
{
    return cell.is_string() ? cell.get<std::string>() : cell.dump();
}

}  // namespace

nlohmann::json table::as_json() const
{
    auto all = nlohmann::json::array();
    for (const auto& row : rows) {
        nlohmann::json object;
        for (std::size_t i = 0; i != columns.size(); ++i)
            object[columns[i]] = row[i];
        all.push_back(std::move(object));
    }
    return all;
}

std::string table::as_text(const std::string& empty) const
{
    if (rows.empty())
        return empty + "\n";
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i != columns.size(); ++i) {
        auto width = columns[i].size();
        for (const auto& row : rows)
            width = std::max(width, cell_text(row[i]).size());
        widths.push_back(width);
    }
    std::string text;
    const auto add_line = [&](auto&& cell) {
        std::string line;
        for (std::size_t i = 0; i != columns.size(); ++i)
            line += cell(i) + "  ";
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    };
    add_line([&](std::size_t i) {
        return rows.front()[i].is_number() ? fmt::format("{:>{}}", columns[i], widths[i])
                                           : fmt::format("{:<{}}", columns[i], widths[i]);
    });
    for (const auto& row : rows)
        add_line([&](std::size_t i) {
            return row[i].is_number() ? fmt::format("{:>{}}", cell_text(row[i]), widths[i])
                                      : fmt::format("{:<{}}", cell_text(row[i]), widths[i]);
        });
    return text;
}

}  // namespace cohort::tool
