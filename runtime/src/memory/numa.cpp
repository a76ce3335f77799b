#include "cohort/memory/numa.hpp"

#include <algorithm>

#include <numa.h>
#include <sched.h>

namespace cohort {

int numa_node_count() noexcept
{
    return ::numa_available() < 0 ? 1 : std::max(1, ::numa_num_configured_nodes());
}

int current_numa_node() noexcept
{
    if (::numa_available() < 0)
        return 0;
    return std::max(0, ::numa_node_of_cpu(::sched_getcpu()));
}

numa_placement::numa_placement(int node) noexcept
{
    if (node == any_numa_node || ::numa_available() < 0 || numa_node_count() < 2)
        return;
    ::numa_set_preferred(node);
    active_ = true;
}

numa_placement::~numa_placement()
{
    if (active_)
        ::numa_set_localalloc();
}

}  // namespace cohort
