#include "cohort/primary/option_text.hpp"

#include "cohort/base/error.hpp"

#include <charconv>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <grp.h>

namespace cohort::primary {
namespace {

error wrong(std::string_view option, std::string_view text, std::string_view should)
{
    return error{errc::invalid_argument, fmt::format("{} \"{}\" {}", option, text, should)};
}

std::size_t factor_of(char letter) noexcept
{
    switch (letter) {
    case 'k':
    case 'K': return 1_KiB;
    case 'm':
    case 'M': return 1_MiB;
    case 'g':
    case 'G': return 1_GiB;
    case 't':
    case 'T': return 1024_GiB;
    default: return 0;
    }
}

/// Calls `visit(part)` for what stands between commas.
template <typename Visit>
void for_each_part(std::string_view text, Visit&& visit)
{
    for (std::size_t from = 0; from <= text.size();) {
        const auto comma = std::min(text.find(',', from), text.size());
        visit(text.substr(from, comma - from));
        from = comma + 1;
    }
}

}  // namespace

std::size_t parse_bytes(std::string_view option, std::string_view text, std::size_t unit)
{
    constexpr auto should = "is not an amount of memory such as 64M or 2G";
    std::size_t number = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failure != std::errc{})
        throw wrong(option, text, should);
    auto rest = text.substr(static_cast<std::size_t>(end - text.data()));
    auto factor = unit;
    if (!rest.empty() && (factor = factor_of(rest.front())) != 0)
        rest.remove_prefix(1);
    if (factor != 0 && (rest == "B" || rest == "iB"))
        rest = {};
    if (factor == 0 || !rest.empty() || number > std::numeric_limits<std::size_t>::max() / factor)
        throw wrong(option, text, should);
    return number * factor;
}

std::vector<std::size_t> parse_amounts(std::string_view option, std::string_view text)
{
    std::vector<std::size_t> amounts;
    for_each_part(
        text, [&](std::string_view part) { amounts.push_back(parse_bytes(option, part, 1_MiB)); });
    return amounts;
}

std::vector<page_limit> parse_page_limits(std::string_view option, std::string_view text)
{
    std::vector<page_limit> limits;
    for_each_part(text, [&](std::string_view part) {
        const auto colon = part.find(':');
        const auto size = colon == part.npos ? 0 : parse_bytes(option, part.substr(0, colon));
        if (size != 4_KiB && size != 2_MiB && size != 1_GiB)
            throw wrong(option, part,
                        "is not SIZE:LIMIT with pages of 4K, 2M or 1G, such as "
                        "2M:512M");
        limits.push_back({page_size{size}, parse_bytes(option, part.substr(colon + 1), 1_MiB)});
    });
    return limits;
}

huge_policy parse_huge(std::string_view option, std::string_view text)
{
    if (const auto policy = parse_huge_policy(text))
        return *policy;
    throw error{errc::invalid_argument,
                fmt::format("{} {} is not one of auto, 2M, 1G, none", option, text)};
}

std::uintptr_t parse_address(std::string_view option, std::string_view text)
{
    auto digits = text;
    if (digits.starts_with("0x"))
        digits.remove_prefix(2);
    std::uintptr_t address = 0;
    const auto* const last = digits.data() + digits.size();
    const auto [end, failure] = std::from_chars(digits.data(), last, address, 16);
    if (failure != std::errc{} || end != last)
        throw error{errc::invalid_argument,
                    fmt::format("{} {} is not an address in hexadecimal", option, text)};
    return address;
}

unsigned parse_group(std::string_view option, std::string_view text)
{
    constexpr auto none = ~0u;  // to chown
    unsigned number = 0;
    const auto* const last = text.data() + text.size();
    if (const auto [end, failure] = std::from_chars(text.data(), last, number);
        failure == std::errc{} && end == last && number != none)
        return number;
    group entry{};
    group* found = nullptr;
    std::vector<char> names(1 << 16);
    if (::getgrnam_r(std::string{text}.c_str(), &entry, names.data(), names.size(), &found) != 0 ||
        !found)
        throw wrong(option, text, "is no group of this system; see getent group");
    return entry.gr_gid;
}

}  // namespace cohort::primary
