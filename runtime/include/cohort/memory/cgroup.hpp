#pragma once
/// What the control groups of this process leave it to grow.
///
/// Beyond a group's limit of memory the kernel does not refuse pages: it kills a process of the
/// group. So it is asked before pages are made.
///
/// *Thread safety*: any thread. The answer is a snapshot; other processes of the group use it up.

#include "cohort/memory/page_size.hpp"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>

namespace cohort {

inline constexpr auto all_there_is = std::numeric_limits<std::uint64_t>::max();

/// The tightest of the limits on one process.
struct cgroup_limit {
    std::uint64_t headroom = all_there_is;  ///< bytes still allowed
    std::uint64_t limit = 0;
    std::string file;  ///< which sets the limit; empty = there is none

    [[nodiscard]] bool forbids(std::uint64_t bytes) const noexcept { return bytes > headroom; }
};

/// Looks at the group that `cgroup_line` (a line of /proc/PID/cgroup) names and at all groups
/// around it, below the mount point `root`: memory.max and memory.current for small pages,
/// hugetlb.2MB.max and hugetlb.2MB.current for huge ones; in version 1, their forerunners. A file
/// that is missing, and the word "max", is no limit. Page cache does not count as used: the kernel
/// takes it back before it kills.
/// Whether `enough` bytes are allowed is answered exactly; beyond, page cache may have been left
/// out of the headroom, for the kernel adds it up over all processors before it tells.
[[nodiscard]] cgroup_limit cgroup_headroom(const std::filesystem::path& root,
                                           std::string_view cgroup_line,
                                           page_size size = page_size::small,
                                           std::uint64_t enough = all_there_is);

/// The same for this process and all hierarchies under /sys/fs/cgroup.
[[nodiscard]] cgroup_limit own_cgroup_headroom(page_size size, std::uint64_t enough = all_there_is);

/// `available_bytes`, as far as the control groups of this process allow.
[[nodiscard]] std::uint64_t obtainable_bytes(page_size size);

/// Throws `errc::no_memory` with the limit's file and value when `length` exceeds the headroom.
void check_cgroup(page_size size, std::uint64_t length);

}  // namespace cohort
