#pragma once
/// The file behind one memseg list: sparse, nameless, grown and shrunk in place.
///
/// *When a process dies here*: the kernel keeps the file while any member holds it and frees it
/// with the last one. A growth cut short leaves pages in the file that no list has published; who
/// takes the memory lock over gives them back.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/memory/page_size.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace cohort {

/// Throws `errc::no_memory` when RLIMIT_FSIZE forbids a file of that length: the kernel answers a
/// file beyond it with SIGXFSZ, not with an error.
void check_file_limit(std::uint64_t length);

/// Creates the file with its final length and no pages, mode 0600: a memfd, or a file without a
/// name in `huge_dir`, a directory on a hugetlbfs with pages of that size.
[[nodiscard]] file_descriptor create_segment_file(page_size size, std::uint64_t length,
                                                  const std::string& huge_dir = {});

/// Throws `errc::no_memory` or `errc::no_hugepages`, with wanted and available, when pages for
/// [offset, offset + length) cannot be had: looks at free pages, the limits of control groups and
/// RLIMIT_FSIZE, because the kernel answers those with a signal and not with an error.
void check_pages(page_size size, std::uint64_t offset, std::uint64_t length);

/// Makes pages for that range, which has been checked, or throws the same and leaves no page
/// behind.
void make_pages(int fd, page_size size, std::uint64_t offset, std::uint64_t length);

/// Gives the pages of [offset, offset + length) back to the kernel; where there are none, nothing
/// happens.
void punch_pages(int fd, std::uint64_t offset, std::uint64_t length) noexcept;

/// Where hugetlbfs with pages of that size is mounted, as /proc/self/mounts says.
[[nodiscard]] std::optional<std::string> find_hugetlbfs(page_size size);

/// Throws `errc::invalid_argument` when `directory` is not on a hugetlbfs with such pages.
void check_hugetlbfs(const std::string& directory, page_size size);

}  // namespace cohort
