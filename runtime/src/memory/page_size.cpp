#include "cohort/memory/page_size.hpp"

#include <fstream>

#include <fmt/format.h>

namespace cohort {
namespace {

std::uint64_t read_number(const std::string& path) noexcept
{
    std::uint64_t value = 0;
    std::ifstream{path} >> value;
    return value;
}

std::uint64_t mem_available() noexcept
{
    std::ifstream meminfo{"/proc/meminfo"};
    std::string key;
    std::uint64_t kib = 0;
    std::string unit;
    while (meminfo >> key >> kib >> unit)
        if (key == "MemAvailable:")
            return kib << 10;
    return 0;
}

}  // namespace

std::string_view to_text(page_size size) noexcept
{
    switch (size) {
    case page_size::small: return "4 KiB";
    case page_size::huge_2m: return "2 MiB";
    case page_size::huge_1g: return "1 GiB";
    }
    return "?";
}

std::optional<huge_policy> parse_huge_policy(std::string_view text) noexcept
{
    if (text == "auto")
        return huge_policy::automatic;
    if (text == "2M")
        return huge_policy::only_2m;
    if (text == "1G")
        return huge_policy::only_1g;
    if (text == "none")
        return huge_policy::none;
    return std::nullopt;
}

std::uint64_t available_bytes(page_size size) noexcept
{
    if (size == page_size::small)
        return mem_available();
    const auto pool = fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/", bytes(size) >> 10);
    const auto free = read_number(pool + "free_hugepages");
    const auto reserved = read_number(pool + "resv_hugepages");
    return free > reserved ? (free - reserved) * bytes(size) : 0;
}

std::uint64_t pool_bytes(page_size size) noexcept
{
    if (size == page_size::small)
        return mem_available();
    const auto pool = fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/", bytes(size) >> 10);
    return (read_number(pool + "nr_hugepages") + read_number(pool + "nr_overcommit_hugepages")) *
           bytes(size);
}

bool shared_thp_allowed(bool asked)
{
    std::ifstream setting{"/sys/kernel/mm/transparent_hugepage/shmem_enabled"};
    for (std::string word; setting >> word;)
        if (word.front() == '[')
            return word != "[never]" && word != "[deny]" && (asked || word != "[advise]");
    return false;
}

std::string bytes_text(std::uint64_t bytes)
{
    if (bytes != 0 && bytes % 1_GiB == 0)
        return fmt::format("{} GiB", bytes / 1_GiB);
    if (bytes != 0 && bytes % 1_MiB == 0)
        return fmt::format("{} MiB", bytes / 1_MiB);
    if (bytes != 0 && bytes % 1_KiB == 0)
        return fmt::format("{} KiB", bytes / 1_KiB);
    return fmt::format("{} bytes", bytes);
}

}  // namespace cohort
