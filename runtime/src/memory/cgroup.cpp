#include "cohort/memory/cgroup.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace cohort {
namespace {

/// How one controller calls its files for pages of one size.
struct controller_files {
    std::string limit;
    std::string usage;
    std::string stat;  ///< where the page cache stands; empty = it has none
    std::vector<std::string_view> cache_keys;
};

std::string_view huge_name(page_size size) noexcept
{
    return size == page_size::huge_2m ? "hugetlb.2MB" : "hugetlb.1GB";
}

controller_files files_of(page_size size, bool version_2)
{
    if (size != page_size::small)
        return {fmt::format("{}.{}", huge_name(size), version_2 ? "max" : "limit_in_bytes"),
                fmt::format("{}.{}", huge_name(size), version_2 ? "current" : "usage_in_bytes"),
                {},
                {}};
    if (version_2)
        return {"memory.max", "memory.current", "memory.stat", {"inactive_file", "active_file"}};
    return {"memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "memory.stat",
            {"total_inactive_file", "total_active_file"}};
}

/// Nothing when the file is missing or says "max".
std::optional<std::uint64_t> number_in(const std::filesystem::path& file)
{
    std::uint64_t value = 0;
    return std::ifstream{file} >> value ? std::optional{value} : std::nullopt;
}

std::uint64_t page_cache(const std::filesystem::path& stat, const controller_files& names)
{
    std::ifstream file{stat};
    std::uint64_t sum = 0;
    std::string key;
    for (std::uint64_t value = 0; file >> key >> value;)
        for (const auto wanted : names.cache_keys)
            sum += key == wanted ? value : 0;
    return sum;
}

/// Version 1 has no word for "no limit" but this number, less what is no whole page.
constexpr std::uint64_t no_limit = std::uint64_t{1} << 62;

/// The limit that one group sets, itself and not its parents. Most set none, and usage and cache
/// are dear to read: they are not asked for in vain.
cgroup_limit limit_of(const std::filesystem::path& group, const controller_files& names,
                      std::uint64_t enough)
{
    const auto limit = number_in(group / names.limit);
    if (!limit || *limit >= no_limit)
        return {};
    const auto usage = number_in(group / names.usage);
    if (!usage)
        return {};
    const auto left = [&](std::uint64_t used) { return *limit > used ? *limit - used : 0; };
    auto headroom = left(*usage);
    if (headroom < enough && !names.stat.empty()) {
        const auto cache = page_cache(group / names.stat, names);
        headroom = left(*usage > cache ? *usage - cache : 0);
    }
    return {headroom, *limit, (group / names.limit).string()};
}

/// A line of /proc/PID/cgroup: "0::/path", or "4:memory:/path" in version 1.
struct cgroup_line_parts {
    std::string_view controllers;
    std::string_view path;
};

std::optional<cgroup_line_parts> parse(std::string_view line)
{
    const auto first = line.find(':');
    const auto second = first == line.npos ? line.npos : line.find(':', first + 1);
    if (second == line.npos || second + 1 == line.size() || line[second + 1] != '/')
        return std::nullopt;
    return cgroup_line_parts{line.substr(first + 1, second - first - 1), line.substr(second + 2)};
}

bool lists(std::string_view controllers, std::string_view wanted)
{
    return fmt::format(",{},", controllers).find(fmt::format(",{},", wanted)) != std::string::npos;
}

void tighten(cgroup_limit& tightest, cgroup_limit other)
{
    if (other.headroom < tightest.headroom)
        tightest = std::move(other);
}

}  // namespace

cgroup_limit cgroup_headroom(const std::filesystem::path& root, std::string_view cgroup_line,
                             page_size size, std::uint64_t enough)
{
    const auto line = parse(cgroup_line);
    const auto controller = size == page_size::small ? "memory" : "hugetlb";
    const bool version_2 = line && line->controllers.empty();
    if (!line || (!version_2 && !lists(line->controllers, controller)))
        return {};
    const auto names = files_of(size, version_2);
    cgroup_limit tightest;
    auto group = line->path.empty() ? root : root / line->path;
    for (;; group = group.parent_path()) {
        tighten(tightest, limit_of(group, names, enough));
        if (group == root || group == group.parent_path())
            return tightest;
    }
}

cgroup_limit own_cgroup_headroom(page_size size, std::uint64_t enough)
{
    const std::filesystem::path mounts{"/sys/fs/cgroup"};
    const auto controller = size == page_size::small ? "memory" : "hugetlb";
    cgroup_limit tightest;
    std::ifstream groups{"/proc/self/cgroup"};
    for (std::string line; std::getline(groups, line);) {
        if (!line.starts_with("0::")) {
            tighten(tightest, cgroup_headroom(mounts / controller, line, size, enough));
            continue;
        }
        // The second is where version 2 lies beside version 1.
        for (const auto& root : {mounts, mounts / "unified"})
            tighten(tightest, cgroup_headroom(root, line, size, enough));
    }
    return tightest;
}

std::uint64_t obtainable_bytes(page_size size)
{
    return std::min(available_bytes(size), own_cgroup_headroom(size).headroom);
}

void check_cgroup(page_size size, std::uint64_t length)
{
    const auto tightest = own_cgroup_headroom(size, length);
    if (tightest.forbids(length))
        throw error{
            errc::no_memory,
            fmt::format("{} of {} pages are wanted but {} of {} allows {} more; raise it or "
                        "ask for less memory",
                        bytes_text(length), to_text(size), tightest.file,
                        bytes_text(tightest.limit), bytes_text(tightest.headroom))};
}

}  // namespace cohort
