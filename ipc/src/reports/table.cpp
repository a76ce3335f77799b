#include "cohort/ipc/table.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort::ipc {

std::string cell::text() const
{
    if (value_.is_object())
        return text_;
    return value_.is_string() ? value_.get<std::string>() : value_.dump();
}

void cell::add_to(nlohmann::json& row, const std::string& column) const
{
    if (value_.is_object())
        row.update(value_);
    else
        row[column] = value_;
}

nlohmann::json table::as_json() const
{
    auto all = nlohmann::json::array();
    for (const auto& row : rows) {
        auto object = nlohmann::json::object();
        for (std::size_t i = 0; i != columns.size(); ++i)
            row[i].add_to(object, columns[i]);
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
            width = std::max(width, row[i].text().size());
        widths.push_back(width);
    }
    std::string text;
    const auto add_line = [&](auto&& padded) {
        std::string line;
        for (std::size_t i = 0; i != columns.size(); ++i)
            line += padded(i) + "  ";
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    };
    add_line([&](std::size_t i) {
        return rows.front()[i].is_number() ? fmt::format("{:>{}}", columns[i], widths[i])
                                           : fmt::format("{:<{}}", columns[i], widths[i]);
    });
    for (const auto& row : rows)
        add_line([&](std::size_t i) {
            return row[i].is_number() ? fmt::format("{:>{}}", row[i].text(), widths[i])
                                      : fmt::format("{:<{}}", row[i].text(), widths[i]);
        });
    return text;
}

}  // namespace cohort::ipc
