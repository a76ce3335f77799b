#pragma once
/// Nodes and placement: what the machine says, through libnuma, or an emulation of it.

#include <cstddef>
#include <cstdint>

namespace cohort {

/// "Any node will do."
inline constexpr std::int32_t any_numa_node = -1;

/// What cohort asks about nodes. A domain with emulated nodes, and a test, bring another one.
///
/// *Thread safety*: all calls from any thread.
class numa_system {
public:
    virtual ~numa_system() = default;
    /// Number of nodes with memory; at least 1.
    [[nodiscard]] virtual int count() const noexcept = 0;
    /// The node of the calling thread's processor.
    [[nodiscard]] virtual int current() const noexcept = 0;
    /// From now on pages that this thread makes come from `node` while that has any, or, for
    /// `any_numa_node`, from where they came from before the last call.
    virtual void place_on(int node) const noexcept = 0;
    /// The node of the page that holds `address`, `any_numa_node` when that is unknown. Touches the
    /// page, so it must exist.
    [[nodiscard]] virtual int node_of(const void* address) const noexcept = 0;
};

/// The nodes of this machine. One that has no NUMA has node 0.
[[nodiscard]] const numa_system& machine_numa() noexcept;

/// `count` nodes, 1 to 8, that exist in the lists only: pages come from anywhere, and processors
/// belong to nodes in turn.
[[nodiscard]] const numa_system& emulated_numa(unsigned count) noexcept;

/// The nodes of a domain: 0 emulated ones means those of the machine.
[[nodiscard]] inline const numa_system& numa_of(unsigned emulated_nodes) noexcept
{
    return emulated_nodes == 0 ? machine_numa() : emulated_numa(emulated_nodes);
}

/// While it lives, pages that this thread makes come from `node`. Not for use by two scopes at once
/// in one thread.
class numa_placement {
public:
    numa_placement(const numa_system& numa, int node) noexcept : numa_{numa}, node_{node}
    {
        if (node_ != any_numa_node)
            numa_.place_on(node_);
    }
    ~numa_placement()
    {
        if (node_ != any_numa_node)
            numa_.place_on(any_numa_node);
    }
    numa_placement(const numa_placement&) = delete;
    numa_placement& operator=(const numa_placement&) = delete;

private:
    const numa_system& numa_;
    int node_;
};

}  // namespace cohort
