#include "cohort/memory/mapping.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/file_descriptor.hpp"
#include "cohort/memory/page_size.hpp"

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <sys/mman.h>
#include <sys/stat.h>

namespace cohort {
namespace {

void* pointer(std::uintptr_t address) noexcept
{
    return reinterpret_cast<void*>(address);
}

/// 0 on success, else the errno.
int try_reserve(std::uintptr_t base, std::size_t bytes) noexcept
{
    void* at = ::mmap(pointer(base), bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (at == MAP_FAILED)
        return errno;
    if (at == pointer(base))
        return 0;
    ::munmap(at, bytes);  // a kernel that does not know the flag takes it as a hint
    return EEXIST;
}

/// The first line of /proc/self/maps whose range meets this one and whose flags ("rw-s") are
/// wanted, or nothing. The kernel lists mappings upwards.
template <typename Wanted>
std::string first_mapping(std::uintptr_t base, std::size_t bytes, Wanted&& wanted)
{
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t from = 0;
        std::uintptr_t to = 0;
        char flags[5]{};
        if (std::sscanf(line.c_str(), "%lx-%lx %4s", &from, &to, flags) != 3)
            continue;
        if (from >= base + bytes)
            break;
        if (to > base && wanted(std::string_view{flags, 4}))
            return line;
    }
    return {};
}

}  // namespace

address_range::address_range(std::uintptr_t base, std::size_t bytes)
{
    const int failure = try_reserve(base, bytes);
    if (failure == EEXIST)
        throw error{errc::window_taken,
                    fmt::format("the window {:#x}-{:#x} is taken in this process by \"{}\"; start "
                                "the primary with another --window-base or attach earlier",
                                base, base + bytes, mapping_in_the_way(base, bytes))};
    if (failure == ENOMEM)
        throw error{errc::no_memory,
                    fmt::format("cannot reserve {} of address space for the window; raise "
                                "RLIMIT_AS (ulimit -v)",
                                bytes_text(bytes))};
    if (failure != 0)
        throw_errno(failure, fmt::format("cannot reserve the window at {:#x}", base));
    base_ = base;
    bytes_ = bytes;
    keep_private(base, bytes);
}

address_range::address_range(address_range&& other) noexcept
    : base_{std::exchange(other.base_, 0)}
    , bytes_{std::exchange(other.bytes_, 0)}
{
}

address_range& address_range::operator=(address_range&& other) noexcept
{
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

address_range::~address_range()
{
    if (bytes_ != 0)
        ::munmap(pointer(base_), bytes_);
}

void address_range::map(std::uintptr_t at, int fd, std::size_t length, map_access access,
                        const char* what)
{
    const int protection = access == map_access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
    if (::mmap(pointer(at), length, protection, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) ==
        MAP_FAILED)
        throw_errno(errno,
                    fmt::format("cannot map {} of {} at {:#x}", bytes_text(length), what, at));
    keep_private(at, length);
}

bool range_is_free(std::uintptr_t base, std::size_t bytes) noexcept
{
    if (try_reserve(base, bytes) != 0)
        return false;
    ::munmap(pointer(base), bytes);
    return true;
}

std::string mapping_in_the_way(std::uintptr_t base, std::size_t bytes)
{
    const auto found = first_mapping(base, bytes, [](std::string_view) { return true; });
    return found.empty() ? "a mapping that has gone since" : found;
}

std::string private_mapping_in(std::uintptr_t base, std::size_t bytes)
{
    return first_mapping(base, bytes, [](std::string_view flags) { return flags.back() == 'p'; });
}

void keep_private(std::uintptr_t base, std::size_t bytes) noexcept
{
    ::madvise(pointer(base), bytes, MADV_DONTDUMP);
    ::madvise(pointer(base), bytes, MADV_DONTFORK);
}

void refuse_locked_future()
{
    const file_descriptor probe{::memfd_create("cohort-probe", MFD_CLOEXEC)};
    if (!probe || ::ftruncate(probe.get(), 4096) != 0)
        throw_errno(errno, "cannot make the file that probes for locked memory");
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, probe.get(), 0);
    struct stat status {};
    ::fstat(probe.get(), &status);
    if (at != MAP_FAILED)
        ::munmap(at, 4096);
    if (status.st_blocks != 0)
        throw error{errc::no_memory,
                    "this process has called mlockall(MCL_FUTURE), which would fill "
                    "every hole of the window; call it with MCL_ONFAULT, which locks pages when "
                    "they are used"};
}

}  // namespace cohort
