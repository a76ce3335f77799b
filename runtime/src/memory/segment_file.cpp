#include "cohort/memory/segment_file.hpp"

#include "cohort/base/error.hpp"
#include "cohort/memory/cgroup.hpp"
#include "cohort/memory/numa.hpp"

#include <cerrno>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace cohort {
namespace {

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

file_descriptor create_segment_file(page_size size, std::uint64_t length)
{
    check_file_limit(length);
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | huge_flags(size);
    file_descriptor file{::memfd_create("cohort-segments", flags | MFD_NOEXEC_SEAL)};
    if (!file && errno == EINVAL)  // kernels before 6.3 do not know the flag
        file = file_descriptor{::memfd_create("cohort-segments", flags)};
    if (!file)
        throw_errno(errno, fmt::format("cannot create a file of {} pages", to_text(size)));
    ::fchmod(file.get(), 0600);
    if (::ftruncate(file.get(), static_cast<off_t>(length)) != 0)
        throw_errno(errno, fmt::format("cannot size a segment file to {}", bytes_text(length)));
    ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return file;
}

void commit_pages(int fd, page_size size, std::uint64_t offset, std::uint64_t length, int node)
{
    check_file_limit(offset + length);
    check_available(size, length);
    check_cgroup(size, length);
    const numa_placement placement{node};
    int result = 0;
    do
        result = ::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                             static_cast<off_t>(length));
    while (result != 0 && errno == EINTR);
    if (result == 0)
        return;
    const int failure = errno;
    ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(length));  // a hugetlb fallocate keeps what it got
    throw error{size == page_size::small ? errc::no_memory : errc::no_hugepages,
                fmt::format("cannot get {} of {} pages ({} free): {}", bytes_text(length),
                            to_text(size), bytes_text(available_bytes(size)),
                            describe_errno(failure))};
}

}  // namespace cohort
