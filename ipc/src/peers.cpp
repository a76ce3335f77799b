#include "cohort/ipc/peers.hpp"

#include "cohort/base/error.hpp"

#include <cerrno>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cohort::ipc {

void peers::set(member_ref member, file_descriptor pidfd, file_descriptor wake)
{
    const std::lock_guard guard{mutex_};
    slots_[member.id] = {member, std::move(pidfd), std::move(wake)};
}

void peers::forget(member_ref member)
{
    const std::lock_guard guard{mutex_};
    if (slots_[member.id].member == member)
        slots_[member.id] = {};
}

bool peers::wake(member_ref member) const noexcept
{
    const std::lock_guard guard{mutex_};
    const auto& known = slots_[member.id];
    const std::uint64_t one = 1;
    return known.member == member && known.wake &&
           ::write(known.wake.get(), &one, sizeof one) == sizeof one;
}

bool peers::knows(member_ref member) const noexcept
{
    const std::lock_guard guard{mutex_};
    return slots_[member.id].member == member && slots_[member.id].pidfd;
}

bool peers::has_ended(member_ref member) const noexcept
{
    const std::lock_guard guard{mutex_};
    const auto& known = slots_[member.id];
    pollfd asked{known.pidfd.get(), POLLIN, 0};
    return known.member == member && known.pidfd && ::poll(&asked, 1, 0) == 1;
}

file_descriptor own_pidfd()
{
    file_descriptor made{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))};
    if (!made)
        throw_errno(errno, "cannot open a pidfd; cohort needs Linux 6.1 or newer");
    return made;
}

file_descriptor new_eventfd()
{
    file_descriptor made{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!made)
        throw_errno(errno, "cannot make an eventfd");
    return made;
}

file_descriptor duplicate(int fd)
{
    file_descriptor made{::fcntl(fd, F_DUPFD_CLOEXEC, 3)};
    if (!made)
        throw_errno(errno, "cannot duplicate a descriptor");
    return made;
}

}  // namespace cohort::ipc
