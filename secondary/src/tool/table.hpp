#pragma once
// A report: named columns and rows, printed for people or as JSON.

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace cohort::tool {

struct table {
    std::vector<std::string> columns;  ///< also the keys in JSON
    std::vector<std::vector<nlohmann::json>> rows;

    [[nodiscard]] nlohmann::json as_json() const;
    /// Columns padded to their widest cell, numbers to the right; `empty` when there is no row.
    [[nodiscard]] std::string as_text(const std::string& empty) const;
};

}  // namespace cohort::tool
