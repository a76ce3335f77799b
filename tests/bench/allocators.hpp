#pragma once
// Everything that can be asked for a block, under one pair of calls, and nothing linked: a peer
// that is not installed is simply absent.

#include "cohort/primary/primary.hpp"
#include "eal.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace cohort::bench {

struct allocator {
    std::string name;
    void* (*allocate)(std::size_t bytes);
    void (*release)(void* block);
};

constexpr auto dpdk_prefix = "cohort_bench";  ///< --file-prefix of the processes of dpdk_malloc

[[nodiscard]] allocator glibc_malloc();
/// Nothing when the library is not there.
[[nodiscard]] std::unique_ptr<allocator> mimalloc();
/// The EAL is started once in the process, on `megabytes` of 2 MiB pages of the hugetlbfs mounted
/// at `huge_directory`. Nothing when DPDK is not there or does not start; the latter is said on
/// standard error.
[[nodiscard]] std::unique_ptr<allocator> dpdk_malloc(role as, std::size_t megabytes,
                                                     const std::string& huge_directory);
/// Over a domain that lives as long as the process.
[[nodiscard]] allocator cohort_malloc(role as, std::size_t megabytes);

/// Bytes that DPDK's heap of node 0 has handed out, headers included; 0 without DPDK.
[[nodiscard]] std::size_t dpdk_used_bytes();
[[nodiscard]] std::size_t cohort_used_bytes();

}  // namespace cohort::bench
