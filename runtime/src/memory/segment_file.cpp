#include "cohort/memory/segment_file.hpp"

#include "cohort/base/error.hpp"
#include "cohort/memory/cgroup.hpp"

#include <algorithm>
#include <cerrno>
#include <fstream>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace cohort {
namespace {

constexpr std::uint64_t step_bytes = 256_MiB;

unsigned huge_flags(page_size size) noexcept
{
    switch (size) {
    case page_size::small: return 0;
    case page_size::huge_2m: return MFD_HUGETLB | MFD_HUGE_2MB;
    case page_size::huge_1g: return MFD_HUGETLB | MFD_HUGE_1GB;
    }
    return 0;
}

/// Running dry half-way is answered by the OOM killer (small pages) or leaves pages behind (huge).
void check_available(page_size size, std::uint64_t length)
{
    const auto available = available_bytes(size);
    if (length <= available)
        return;
    const auto code = size == page_size::small ? errc::no_memory : errc::no_hugepages;
    throw error{code, fmt::format("{} of {} pages are wanted but {} are free; {}",
                                  bytes_text(length), to_text(size), bytes_text(available),
                                  size == page_size::small
                                      ? "ask for less memory"
                                      : "reserve more in /sys/kernel/mm/hugepages or use none")};
}

file_descriptor make_memfd(page_size size)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | huge_flags(size);
    file_descriptor file{::memfd_create("cohort-segments", flags | MFD_NOEXEC_SEAL)};
    if (!file && errno == EINVAL)  // kernels before 6.3 do not know the flag
        file = file_descriptor{::memfd_create("cohort-segments", flags)};
    if (!file)
        throw_errno(errno, fmt::format("cannot create a file of {} pages", to_text(size)));
    return file;
}

file_descriptor make_nameless(const std::string& directory)
{
    file_descriptor file{::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (!file)
        throw_errno(errno, fmt::format("cannot create a file in {}", directory));
    return file;
}

bool is_hugetlbfs(const std::string& directory, page_size size) noexcept
{
    struct statfs found {};
    return ::statfs(directory.c_str(), &found) == 0 && found.f_type == HUGETLBFS_MAGIC &&
           static_cast<std::uint64_t>(found.f_bsize) == bytes(size);
}

}  // namespace

void check_file_limit(std::uint64_t length)
{
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    if (limit.rlim_cur != RLIM_INFINITY && length > limit.rlim_cur)
        throw error{errc::no_memory,
                    fmt::format("a file of {} for the region exceeds RLIMIT_FSIZE of {}; raise it "
                                "(ulimit -f unlimited)",
                                bytes_text(length), bytes_text(limit.rlim_cur))};
}

file_descriptor create_segment_file(page_size size, std::uint64_t length,
                                    const std::string& huge_dir)
{
    check_file_limit(length);
    auto file = huge_dir.empty() ? make_memfd(size) : make_nameless(huge_dir);
    ::fchmod(file.get(), 0600);
    if (::ftruncate(file.get(), static_cast<off_t>(length)) != 0)
        throw_errno(errno, fmt::format("cannot size a segment file to {}", bytes_text(length)));
    ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);  // memfd only
    return file;
}

void check_pages(page_size size, std::uint64_t offset, std::uint64_t length)
{
    check_file_limit(offset + length);
    check_available(size, length);
    check_cgroup(size, length);
}

void make_pages(int fd, page_size size, std::uint64_t offset, std::uint64_t length)
{
    for (std::uint64_t done = 0; done != length;) {
        // In steps, so that a signal costs one of them and not the whole way.
        const auto step = std::min(length - done, std::max(bytes(size), step_bytes));
        if (::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset + done),
                        static_cast<off_t>(step)) == 0) {
            done += step;
        } else if (const int failure = errno; failure != EINTR) {
            punch_pages(fd, offset, length);  // a hugetlb fallocate keeps what it got
            throw error{size == page_size::small ? errc::no_memory : errc::no_hugepages,
                        fmt::format("cannot get {} of {} pages ({} free): {}", bytes_text(length),
                                    to_text(size), bytes_text(available_bytes(size)),
                                    describe_errno(failure))};
        }
    }
}

void punch_pages(int fd, std::uint64_t offset, std::uint64_t length) noexcept
{
    while (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(length)) != 0 &&
           errno == EINTR) {}
}

std::optional<std::string> find_hugetlbfs(page_size size)
{
    std::ifstream mounts{"/proc/self/mounts"};
    std::string device, directory, type, rest;
    while (mounts >> device >> directory >> type && std::getline(mounts, rest))
        if (type == "hugetlbfs" && is_hugetlbfs(directory, size) &&
            ::access(directory.c_str(), W_OK) == 0)
            return directory;
    return std::nullopt;
}

void check_hugetlbfs(const std::string& directory, page_size size)
{
    if (!is_hugetlbfs(directory, size))
        throw error{errc::invalid_argument,
                    fmt::format("{} is not on a hugetlbfs with pages of {}; mount one with "
                                "\"mount -t hugetlbfs -o pagesize={}M none DIR\"",
                                directory, to_text(size), bytes(size) >> 20)};
}

}  // namespace cohort
