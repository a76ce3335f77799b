#include "pages.hpp"

#include "cohort/base/bits.hpp"
#include "cohort/base/file_descriptor.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/mount.h>

namespace cohort::bench {
namespace {

constexpr std::size_t page_bytes = 2_MiB;

double zero_once(std::size_t bytes)
{
    const file_descriptor file{::memfd_create("zeroing", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB)};
    const auto start = clock::now();
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0 ||
        ::fallocate(file.get(), 0, 0, static_cast<off_t>(bytes)) != 0)
        throw std::runtime_error{fmt::format("the kernel does not give {} MiB of 2 MiB pages: {}",
                                             bytes / 1_MiB, std::strerror(errno))};
    return milliseconds_since(start);
}

}  // namespace

void pin_to(int processor)
{
    cpu_set_t only{};
    CPU_SET(processor, &only);
    static_cast<void>(::sched_setaffinity(0, sizeof only, &only));  // one processor: stay there
}

pinned::pinned(int processor)
{
    static_cast<void>(::sched_getaffinity(0, sizeof before_, &before_));
    pin_to(processor);
}

pinned::~pinned()
{
    static_cast<void>(::sched_setaffinity(0, sizeof before_, &before_));
}

double zeroing_ms(std::size_t bytes)
{
    const pinned here{0};
    static_cast<void>(zero_once(bytes));
    std::array times{zero_once(bytes), zero_once(bytes), zero_once(bytes)};
    std::sort(times.begin(), times.end());
    return times[1];
}

void read_pages(std::span<std::byte> memory)
{
    for (std::size_t i = 0; i < memory.size(); i += page_bytes)
        static_cast<void>(std::atomic_ref{memory[i]}.load(std::memory_order_relaxed));  // a touch
}

void write_pages(std::span<std::byte> memory)
{
    for (std::size_t i = 0; i < memory.size(); i += page_bytes)
        std::atomic_ref{memory[i]}.store(std::byte{1}, std::memory_order_relaxed);  // a touch
}

hugetlbfs::hugetlbfs(std::string prefix)
    : prefix_{std::move(prefix)}
    , mounted_{::mount("cohort_bench", path().c_str(), "hugetlbfs", 0, "pagesize=2M") == 0}
{
}

hugetlbfs::~hugetlbfs()
{
    wipe();
    if (mounted_)
        ::umount2(path().c_str(), MNT_DETACH);
}

void hugetlbfs::wipe() const
{
    std::error_code ignored;
    for (const auto& file : std::filesystem::directory_iterator{directory_.path(), ignored})
        std::filesystem::remove(file.path(), ignored);
    std::filesystem::remove_all("/var/run/dpdk/" + prefix_, ignored);
}

}  // namespace cohort::bench
