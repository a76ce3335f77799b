// Limits of this process, which programs started beside it have as well.

#include "cohort/memory/cgroup.hpp"
#include "cohort/memory/mapping.hpp"
#include "cohort/memory/window.hpp"
#include "doctor.hpp"

#include <fmt/format.h>

#include <sys/resource.h>

namespace cohort::tool {
namespace {

constexpr std::uint64_t usual_memory = 64_MiB;  // what a primary starts with unless told otherwise

std::uint64_t soft_limit(__rlimit_resource kind)
{
    rlimit limit{};
    return ::getrlimit(kind, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

std::optional<finding> few_descriptors(const std::string&)
{
    constexpr std::uint64_t wanted = 256;  // two for each member, its sockets and files
    const auto limit = soft_limit(RLIMIT_NOFILE);
    if (limit >= wanted)
        return std::nullopt;
    return finding{gravity::fault, fmt::format("RLIMIT_NOFILE allows {} descriptors", limit),
                   fmt::format("a member of a full domain needs up to {}", wanted),
                   fmt::format("ulimit -n {}", wanted)};
}

std::optional<finding> little_address_space(const std::string&)
{
    const auto limit = soft_limit(RLIMIT_AS);
    if (limit >= window_slot_bytes + 1_GiB)
        return std::nullopt;
    return finding{gravity::fault,
                   fmt::format("RLIMIT_AS allows {} of address space", bytes_text(limit)),
                   fmt::format("a window of {} cannot be reserved", bytes_text(window_slot_bytes)),
                   "ulimit -v unlimited"};
}

std::optional<finding> small_files(const std::string&)
{
    const auto limit = soft_limit(RLIMIT_FSIZE);
    if (limit >= window_slot_bytes)
        return std::nullopt;
    return finding{limit < usual_memory ? gravity::fault : gravity::weakness,
                   fmt::format("RLIMIT_FSIZE allows files of {}", bytes_text(limit)),
                   "memory in this process does not grow beyond that", "ulimit -f unlimited"};
}

std::optional<finding> tight_cgroup(const std::string&)
{
    const auto group = own_cgroup_headroom(page_size::small, usual_memory);
    if (!group.forbids(usual_memory))
        return std::nullopt;
    return finding{
        gravity::fault,
        fmt::format("the control group leaves {}: {} is {}", bytes_text(group.headroom), group.file,
                    bytes_text(group.limit)),
        fmt::format("a domain of {} is refused, and growth is", bytes_text(usual_memory)),
        "raise that limit, or start with less (--memory)"};
}

std::optional<finding> taken_window(const std::string&)
{
    std::string in_the_way;
    for (std::size_t slot = 0; slot != window_slots; ++slot) {
        if (range_is_free(window_slot_base(slot), window_slot_bytes))
            return std::nullopt;
        if (in_the_way.empty())
            in_the_way = mapping_in_the_way(window_slot_base(slot), window_slot_bytes);
    }
    return finding{gravity::fault,
                   fmt::format("no window of {} is free in this program; {} stands in the first",
                               bytes_text(window_slot_bytes), in_the_way),
                   "no domain can be mapped at its address",
                   "see who maps that (LD_PRELOAD?) and leave it out"};
}

std::optional<finding> half_taken_window(const std::string&)
{
    std::size_t free = 0;
    std::string in_the_way;
    for (std::size_t slot = 0; slot != window_slots; ++slot) {
        const bool is_free = range_is_free(window_slot_base(slot), window_slot_bytes);
        free += is_free ? 1 : 0;
        if (!is_free && in_the_way.empty())
            in_the_way = mapping_in_the_way(window_slot_base(slot), window_slot_bytes);
    }
    if (free == window_slots || free == 0)
        return std::nullopt;
    return finding{gravity::weakness,
                   fmt::format("{} of {} windows are free in this program; {} stands in one", free,
                               window_slots, in_the_way),
                   "a domain at that address cannot be attached",
                   "see who maps that (LD_PRELOAD?), or move the domain (--window-base)"};
}

std::optional<finding> legacy_layout(const std::string&)
{
    const auto slot = large_slot_base(0);
    const auto bytes = large_slots * large_slot_bytes;
    if (range_is_free(slot, bytes))
        return std::nullopt;
    return finding{
        gravity::weakness,
        fmt::format("{} stands in the area of large windows", mapping_in_the_way(slot, bytes)),
        "domains of more than 320 GiB cannot be mapped",
        "run without setarch -L, and sysctl vm.legacy_va_layout=0"};
}

std::optional<finding> little_locked_memory(const std::string&)
{
    const auto limit = soft_limit(RLIMIT_MEMLOCK);
    if (limit >= 64_KiB)
        return std::nullopt;
    return finding{gravity::weakness, fmt::format("RLIMIT_MEMLOCK allows {}", bytes_text(limit)),
                   "devices that pin memory (AF_XDP, io_uring) cannot be used",
                   "ulimit -l unlimited"};
}

}  // namespace

std::vector<check> limit_checks()
{
    return {{"few-descriptors", few_descriptors}, {"little-address-space", little_address_space},
            {"small-files", small_files},         {"tight-cgroup", tight_cgroup},
            {"window-taken", taken_window},       {"window-half-taken", half_taken_window},
            {"legacy-layout", legacy_layout},     {"no-locked-memory", little_locked_memory}};
}

}  // namespace cohort::tool
