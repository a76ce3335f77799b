#include "cohort/memory/numa.hpp"

#include "cohort/memory/memory_layout.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include <numa.h>
#include <numaif.h>
#include <sched.h>

namespace cohort {
namespace {

class machine final : public numa_system {
public:
    [[nodiscard]] int count() const noexcept override
    {
        static const int nodes =
            ::numa_available() < 0
                ? 1
                : std::clamp(::numa_max_node() + 1, 1, static_cast<int>(max_numa_nodes));
        return nodes;
    }

    [[nodiscard]] int current() const noexcept override
    {
        // Not numa_node_of_cpu, which walks masks of processors: every malloc asks.
        unsigned node = 0;
        return count() > 1 && ::getcpu(nullptr, &node) == 0 ? static_cast<int>(node) : 0;
    }

    void place_on(int node) const noexcept override
    {
        if (count() < 2)
            return;
        // Preferred, not bound: a bound thread whose node is full is answered with the OOM killer.
        // Whoever demands the node looks at where the pages came from.
        thread_local int policy = MPOL_DEFAULT;
        thread_local unsigned long nodes[16]{};  // as many as libnuma's own masks have
        if (node == any_numa_node) {
            ::set_mempolicy(policy, nodes, sizeof nodes * 8);
            return;
        }
        ::get_mempolicy(&policy, nodes, sizeof nodes * 8, nullptr, 0);
        unsigned long mask = 1ul << node;
        ::set_mempolicy(MPOL_PREFERRED, &mask, sizeof mask * 8);
    }

    [[nodiscard]] int node_of(const void* address) const noexcept override
    {
        if (count() < 2)
            return any_numa_node;
        // A page that this process has not mapped yet has no node to it.
        void* page = const_cast<void*>(address);
        std::atomic_ref{*static_cast<char*>(page)}.load(std::memory_order_relaxed);  // only a touch
        int node = -1;
        return ::move_pages(0, 1, &page, nullptr, &node, 0) == 0 && node >= 0 ? node
                                                                              : any_numa_node;
    }
};

class emulation final : public numa_system {
public:
    explicit emulation(unsigned count) noexcept : count_{static_cast<int>(count)} {}
    [[nodiscard]] int count() const noexcept override { return count_; }
    [[nodiscard]] int current() const noexcept override
    {
        return std::max(0, ::sched_getcpu()) % count_;
    }
    void place_on(int) const noexcept override {}
    [[nodiscard]] int node_of(const void*) const noexcept override { return any_numa_node; }

private:
    int count_;
};

template <std::size_t... Counts>
std::array<emulation, sizeof...(Counts)> emulations(std::index_sequence<Counts...>) noexcept
{
    return {emulation{Counts + 1}...};
}

}  // namespace

const numa_system& machine_numa() noexcept
{
    static const machine only;
    return only;
}

const numa_system& emulated_numa(unsigned count) noexcept
{
    static const auto all = emulations(std::make_index_sequence<max_numa_nodes>{});
    return all[std::clamp<unsigned>(count, 1, max_numa_nodes) - 1];
}

}  // namespace cohort
