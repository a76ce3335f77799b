#pragma once
// DPDK's EAL, found at run time: nothing of it is linked, and it may be absent.

#include <cstddef>
#include <optional>
#include <string>

namespace cohort::bench {

enum class role { primary, secondary };

/// Of librte_eal, ABI 23.
struct eal_calls {
    int (*init)(int count, char** words);
    int (*cleanup)();
    void* (*allocate)(const char* type, std::size_t bytes, unsigned alignment);
    void (*release)(void* block);
    int (*stats)(int node, void* into);
};

/// Nothing when DPDK is not installed.
[[nodiscard]] const eal_calls* eal();

struct eal_options {
    role as = role::primary;
    std::string prefix{};
    int processor = 0;
    std::optional<int> lcore{};    ///< its number, if not that of the processor: caches go by it
    std::size_t megabytes = 0;     ///< made at the start; 0 = on demand
    std::string huge_directory{};  ///< a mounted hugetlbfs of 2 MiB pages; for a primary
    bool single_file = false;      ///< all pages of a list in one file
};

/// Starts the EAL, once in a process. False when DPDK is not there or does not start.
[[nodiscard]] bool start_eal(const eal_options& options);

struct eal_memory {
    std::size_t total = 0;      ///< bytes of the heap of node 0
    std::size_t allocated = 0;  ///< of which handed out, headers included
};
/// Zeros without a running EAL.
[[nodiscard]] eal_memory eal_heap();

}  // namespace cohort::bench
