// System calls that cohort needs. In a container a seccomp profile may refuse them.

#include "cohort/base/error.hpp"
#include "cohort/base/file_descriptor.hpp"
#include "doctor.hpp"

#include <cerrno>
#include <cstdio>
#include <thread>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <numaif.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace cohort::tool {
namespace {

constexpr auto profile = "allow it in the seccomp profile of this container or service";

finding refused(gravity how_bad, std::string_view call, std::string cause, int number = errno)
{
    return {how_bad, fmt::format("{} is refused: {}", call, describe_errno(number)),
            std::move(cause), profile};
}

std::optional<finding> old_kernel(const std::string&)
{
    utsname name{};
    int major = 0;
    int minor = 0;
    if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2)
        return std::nullopt;
    if (major > 6 || (major == 6 && minor >= 1))
        return std::nullopt;
    return finding{gravity::fault, fmt::format("the kernel says it is {}", name.release),
                   "cohort is tested on Linux 6.1 and later only", "run a kernel 6.1 or newer"};
}

file_descriptor new_memfd()
{
    return file_descriptor{::memfd_create("cohort-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
}

std::optional<finding> no_memfd(const std::string&)
{
    if (new_memfd())
        return std::nullopt;
    return refused(gravity::fault, "memfd_create", "no memory can be shared");
}

std::optional<finding> no_seals(const std::string&)
{
    const auto file = new_memfd();
    if (!file || ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0)
        return std::nullopt;
    return refused(gravity::fault, "fcntl F_ADD_SEALS",
                   "segment files cannot be kept from shrinking under their users");
}

std::optional<finding> no_fallocate(const std::string&)
{
    const auto file = new_memfd();
    if (!file ||
        (::fallocate(file.get(), 0, 0, 4096) == 0 &&
         ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0))
        return std::nullopt;
    return refused(gravity::fault, "fallocate", "a domain can neither grow nor give pages back");
}

std::optional<finding> no_pidfd(const std::string&)
{
    const file_descriptor pidfd{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))};
    if (pidfd)
        return std::nullopt;
    return refused(gravity::fault, "pidfd_open",
                   "nobody can attach: the death of a member could not be heard");
}

std::optional<finding> no_eventfd(const std::string&)
{
    const file_descriptor event{::eventfd(0, EFD_CLOEXEC)};
    if (event)
        return std::nullopt;
    return refused(gravity::fault, "eventfd2", "nobody can attach: members could not be woken");
}

std::optional<finding> no_robust_list(const std::string&)
{
    void* head = nullptr;
    std::size_t length = 0;
    // A thread's list is registered by the C library when it starts.
    if (::syscall(SYS_get_robust_list, 0, &head, &length) == 0 && head != nullptr)
        return std::nullopt;
    return finding{gravity::fault, "the kernel holds no list of robust futexes for this thread",
                   "the death of a thread would go unnoticed",
                   "allow set_robust_list and get_robust_list in the seccomp profile"};
}

std::optional<finding> no_thread(const std::string&)
{
    try {
        std::thread{[] {}}.join();
        return std::nullopt;
    } catch (const std::system_error& failure) {
        return finding{gravity::fault, fmt::format("a thread cannot be made: {}", failure.what()),
                       "each member needs a dispatcher thread",
                       "raise the limit of processes (ulimit -u, pids.max)"};
    }
}

std::optional<finding> no_membarrier(const std::string&)
{
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) > 0)
        return std::nullopt;
    return refused(gravity::weakness, "membarrier",
                   "who rings the bell of a ring pays for a fence");
}

std::optional<finding> no_mempolicy(const std::string&)
{
    int mode = 0;
    if (::get_mempolicy(&mode, nullptr, 0, nullptr, 0) == 0)
        return std::nullopt;
    return refused(gravity::weakness, "get_mempolicy", "memory is not placed on NUMA nodes");
}

std::optional<finding> no_passing_of_files(const std::string&)
{
    const file_descriptor self{::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (self)
        return std::nullopt;
    return finding{gravity::fault,
                   fmt::format("/proc/self/fd cannot be opened: {}", describe_errno(errno)),
                   "observers get no descriptors, and a new primary cannot adopt stopped members",
                   "mount /proc here"};
}

}  // namespace

std::vector<check> kernel_checks()
{
    return {{"old-kernel", old_kernel},
            {"no-memfd", no_memfd},
            {"no-seals", no_seals},
            {"no-fallocate", no_fallocate},
            {"no-pidfd", no_pidfd},
            {"no-eventfd", no_eventfd},
            {"no-robust-list", no_robust_list},
            {"no-thread", no_thread},
            {"no-membarrier", no_membarrier},
            {"no-mempolicy", no_mempolicy},
            {"no-proc", no_passing_of_files}};
}

}  // namespace cohort::tool
