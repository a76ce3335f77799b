#pragma once
/// The file behind one memseg list: sparse, nameless, grown in place.
///
/// *When a process dies here*: the kernel keeps the file while any member holds it and frees it
/// with the last one. A growth cut short leaves pages in the file that no list has published; the
/// next growth uses them.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/memory/page_size.hpp"

#include <cstdint>

namespace cohort {

/// Throws `errc::no_memory` when RLIMIT_FSIZE forbids a file of that length: the kernel answers a
/// file beyond it with SIGXFSZ, not with an error.
void check_file_limit(std::uint64_t length);

/// Creates the file with its final length and no pages. Mode 0600.
[[nodiscard]] file_descriptor create_segment_file(page_size size, std::uint64_t length);

/// Makes pages for [offset, offset + length) on `node`, or throws `errc::no_memory` with wanted and
/// available and leaves no page behind. Checks free pages, the limits of control groups and
/// RLIMIT_FSIZE first, because the kernel answers those with a signal and not with an error.
void commit_pages(int fd, page_size size, std::uint64_t offset, std::uint64_t length, int node);

}  // namespace cohort
