#pragma once
/// A report: named columns and rows, printed for people or as JSON.
///
/// *Thread safety*: as of a vector.

#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace cohort::ipc {

/// A value that reads the same for people and programs, or a text for people with the fields that
/// stand in its place in JSON.
class cell {
public:
    template <typename Value>
    requires(!std::is_same_v<std::remove_cvref_t<Value>, cell>) cell(Value&& value)
        : value_(std::forward<Value>(value))
    {
    }
    cell(std::string text,
         std::initializer_list<std::pair<const std::string, nlohmann::json>> fields)
        : value_(nlohmann::json::object_t(fields))
        , text_{std::move(text)}
    {
    }

    [[nodiscard]] bool is_number() const noexcept { return value_.is_number(); }
    [[nodiscard]] std::string text() const;
    /// Adds the value under `column`, or its fields, to a row.
    void add_to(nlohmann::json& row, const std::string& column) const;

    friend bool operator<(const cell& a, const cell& b) { return a.value_ < b.value_; }

private:
    nlohmann::json value_;  // an object: fields
    std::string text_;
};

struct table {
    std::vector<std::string> columns;  ///< also the keys in JSON
    std::vector<std::vector<cell>> rows;

    [[nodiscard]] nlohmann::json as_json() const;
    /// Columns padded to their widest cell, numbers to the right; `empty` when there is no row.
    [[nodiscard]] std::string as_text(const std::string& empty) const;
};

}  // namespace cohort::ipc
