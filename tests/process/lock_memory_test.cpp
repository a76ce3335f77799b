// Processes that lock their memory: the window has holes, which must stay holes.

#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"
#include "support/skip.hpp"

#include <array>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace cohort;
using test::child_process;
using test::member_process;
using test::scratch_domain;

namespace {

/// mlockall over a window of 64 GiB needs one of both.
bool may_lock_memory()
{
    rlimit most{};
    __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> rights{};
    return (::getrlimit(RLIMIT_MEMLOCK, &most) == 0 && most.rlim_cur == RLIM_INFINITY) ||
           (::syscall(SYS_capget, &head, rights.data()) == 0 &&
            (rights[0].effective & (1u << CAP_IPC_LOCK)) != 0);
}

constexpr auto the_right = "the right CAP_IPC_LOCK, or no limit of locked memory";

/// Kilobytes of pages of a process that the kernel may not take away.
std::size_t locked_kb(pid_t pid)
{
    std::ifstream file{"/proc/" + std::to_string(pid) + "/status"};
    for (std::string word; file >> word;)
        if (std::size_t size = 0; word == "VmLck:" && file >> size)
            return size;
    return 0;
}

}  // namespace

TEST_CASE(
    "a member that locks memory as it is used keeps the holes of the window, and the domain grows",
    "[attach][memory]")
{
    COHORT_SKIP_UNLESS(may_lock_memory(), the_right);
    scratch_domain domain{std::size_t{4_MiB}};
    member_process locker{"locker"};
    const auto pages = domain->segments().layout().lists[0].published.load();

    locker.tell("lock-memory");

    CHECK(locked_kb(locker.process().pid()) > 1'000'000);  // the window counts as locked
    CHECK(domain.audit().clean());  // it compares the pages that exist with those published
    locker.tell("grow more 16777216");
    CHECK(domain->segments().layout().lists[0].published.load() > pages);
    CHECK(domain.audit().clean());
    locker.tell("release more");
    locker.leave();
    CHECK(domain.audit().clean());
}

TEST_CASE("a process that locks memory as it is used attaches", "[attach][memory]")
{
    COHORT_SKIP_UNLESS(may_lock_memory(), the_right);
    scratch_domain domain{std::size_t{4_MiB}};

    auto probe = child_process::spawn("attach_probe_pie", {"scratch", "2", "--lock-used"});

    CHECK(probe.wait(30s) == test::exit_status{});
    CHECK(domain.audit().clean());
}
