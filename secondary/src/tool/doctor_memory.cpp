// Memory of the machine: /dev/shm, where the control region is made, pages, and settings.

#include "cohort/base/error.hpp"
#include "cohort/memory/page_size.hpp"
#include "doctor.hpp"

#include <cerrno>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include <sys/statvfs.h>
#include <unistd.h>

namespace cohort::tool {
namespace {

constexpr auto shm = "/dev/shm";

std::optional<finding> no_shm(const std::string&)
{
    if (::access(shm, W_OK | X_OK) == 0)
        return std::nullopt;
    return finding{gravity::fault,
                   fmt::format("{} cannot be written: {}", shm, describe_errno(errno)),
                   "no domain can be started here; attaching works",
                   fmt::format("mount -t tmpfs tmpfs {}", shm)};
}

std::optional<finding> full_shm(const std::string&)
{
    constexpr std::uint64_t wanted = 4_MiB;  // a control region with the usual tables
    struct statvfs status {};
    if (::statvfs(shm, &status) != 0 || status.f_blocks == 0)  // no limit
        return std::nullopt;
    const auto free = std::uint64_t{status.f_bavail} * status.f_frsize;
    if (free >= wanted)
        return std::nullopt;
    return finding{gravity::fault, fmt::format("{} has {} free", shm, bytes_text(free)),
                   "there is no room to make a domain's control region",
                   fmt::format("remove files there, or mount -o remount,size=64m {}", shm)};
}

std::optional<finding> little_memory(const std::string&)
{
    const auto free = number_of("/proc/meminfo", "MemAvailable");
    if (!free || *free >= 128 * 1024)
        return std::nullopt;
    return finding{gravity::fault, fmt::format("the machine has {} KiB available", *free),
                   "a domain of the usual 64 MiB takes most of it, and growth is refused",
                   "end something, or start with less (--memory)"};
}

std::optional<finding> strict_overcommit(const std::string&)
{
    if (number_in("/proc/sys/vm/overcommit_memory") != 2u)
        return std::nullopt;
    return finding{gravity::weakness, "vm.overcommit_memory is 2",
                   "shared memory counts against the limit of commitment in advance",
                   "sysctl vm.overcommit_memory=0"};
}

std::optional<finding> few_mappings(const std::string&)
{
    const auto most = number_in("/proc/sys/vm/max_map_count");
    if (!most || *most >= 1024)
        return std::nullopt;
    return finding{gravity::fault, fmt::format("vm.max_map_count is {}", *most),
                   "a process with several domains and threads runs out of mappings",
                   "sysctl vm.max_map_count=65530"};
}

std::optional<finding> hugepages_used_up(const std::string&)
{
    const auto all = number_of("/proc/meminfo", "HugePages_Total");
    const auto free = number_of("/proc/meminfo", "HugePages_Free");
    const auto reserved = number_of("/proc/meminfo", "HugePages_Rsvd");
    if (!all || !free || !reserved || *all == 0 || *free > *reserved)
        return std::nullopt;
    return finding{
        gravity::weakness,
        fmt::format("of {} hugepages {} are free and {} reserved", *all, *free, *reserved),
        "new domains use 4 KiB pages", "raise vm.nr_hugepages, or end who holds them"};
}

/// Calls `visit(mount point)` for each hugetlbfs.
template <typename Visit>
void for_each_hugetlbfs(Visit&& visit)
{
    std::ifstream mounts{"/proc/self/mounts"};
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream words{line};
        std::string device;
        std::string point;
        std::string kind;
        if (words >> device >> point >> kind && kind == "hugetlbfs")
            visit(point);
    }
}

std::optional<finding> closed_hugetlbfs(const std::string&)
{
    std::optional<finding> found;
    for_each_hugetlbfs([&](const std::string& point) {
        if (!found && ::access(point.c_str(), W_OK | X_OK) != 0)
            found = finding{gravity::weakness,
                            fmt::format("the hugetlbfs at {} cannot be written: {}", point,
                                        describe_errno(errno)),
                            "--huge-dir cannot use it", fmt::format("chown or chmod {}", point)};
    });
    return found;
}

}  // namespace

std::vector<check> memory_checks()
{
    return {{"no-shm", no_shm},
            {"full-shm", full_shm},
            {"little-memory", little_memory},
            {"strict-overcommit", strict_overcommit},
            {"few-mappings", few_mappings},
            {"hugepages-used-up", hugepages_used_up},
            {"closed-hugetlbfs", closed_hugetlbfs}};
}

}  // namespace cohort::tool
