#include "xdp_grace.hpp"

#include "cohort/base/error.hpp"

#include <cerrno>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cohort::detail {

void await_grace_period()
{
    // The kernel's synchronize_rcu.
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
        throw_errno(errno, "cannot wait until the kernel has let go of a port's memory");
}

}  // namespace cohort::detail
