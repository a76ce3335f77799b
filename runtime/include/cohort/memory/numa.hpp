#pragma once
/// Nodes and placement, through libnuma.

#include <cstddef>
#include <cstdint>

namespace cohort {

/// "Any node will do."
inline constexpr std::int32_t any_numa_node = -1;

/// Number of nodes with memory; 1 on a machine without NUMA.
[[nodiscard]] int numa_node_count() noexcept;

/// The node of the calling thread's processor.
[[nodiscard]] int current_numa_node() noexcept;

/// While it lives, pages that this thread makes come from `node`. No-op for `any_numa_node` and on
/// machines without NUMA. Not for use by two scopes at once in one thread.
class numa_placement {
public:
    explicit numa_placement(int node) noexcept;
    ~numa_placement();
    numa_placement(const numa_placement&) = delete;
    numa_placement& operator=(const numa_placement&) = delete;

private:
    bool active_ = false;
};

}  // namespace cohort
