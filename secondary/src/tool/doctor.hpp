#pragma once
// cohort doctor: what stands in the way of a domain here, its cause and its remedy.
//
// Looks only. It makes descriptors and mappings of its own to see whether they can be made, and
// lets go of them.
//
// A *fault* keeps a domain from working; a *weakness* costs speed, room or safety.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace cohort::tool {

enum class gravity { fault, weakness };

struct finding {
    gravity how_bad = gravity::fault;
    std::string fact;    ///< what is there, with the number
    std::string cause;   ///< what comes of it
    std::string remedy;  ///< one thing to do
};

/// One question. `ask` has the name of the domain; it answers nothing when all is well.
struct check {
    std::string_view id;
    std::function<std::optional<finding>(const std::string& domain)> ask;
};

/// By subject, each in its own file.
[[nodiscard]] std::vector<check> kernel_checks();
[[nodiscard]] std::vector<check> limit_checks();
[[nodiscard]] std::vector<check> memory_checks();
[[nodiscard]] std::vector<check> place_checks();
[[nodiscard]] std::vector<check> domain_checks();

struct diagnosis {
    std::string_view id;
    finding found;
};

/// Asks everything. A check that cannot be made is a finding too.
[[nodiscard]] std::vector<diagnosis> examine(const std::string& domain);

/// The ids of all checks, in their order.
[[nodiscard]] std::vector<std::string_view> all_checks();

[[nodiscard]] std::string to_text(const std::vector<diagnosis>& found);
[[nodiscard]] nlohmann::json to_json(const std::vector<diagnosis>& found);

/// The first number in a file; nothing when there is none.
[[nodiscard]] std::optional<std::uint64_t> number_in(const std::string& file);

/// The number behind `key` in a file of lines "key: number"; nothing when there is none.
[[nodiscard]] std::optional<std::uint64_t> number_of(const std::string& file, std::string_view key);

}  // namespace cohort::tool
