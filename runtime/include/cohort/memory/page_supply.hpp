#pragma once
/// Makes the pages of memseg lists, and gives them back.
///
/// *Thread safety*: by the holder of the memory lock only.
/// *When a process dies here*: a page without its bit is nobody's, whether it exists or not. The
/// next holder of the lock, or the reaper, gives back all of those (`repair`).

#include "cohort/base/file_descriptor.hpp"
#include "cohort/memory/memory_watch.hpp"
#include "cohort/memory/numa.hpp"
#include "cohort/memory/page_map.hpp"

#include <array>
#include <span>
#include <vector>

namespace cohort {

using memseg_files = std::array<file_descriptor, max_memseg_lists>;

class page_supply {
public:
    page_supply(memory_layout& layout, const memseg_files& files, const numa_system& numa,
                const memory_watch* watch = nullptr) noexcept
        : layout_{layout}
        , files_{files}
        , numa_{&numa}
        , watch_{watch}
    {
    }

    /// Makes and publishes what is missing of these pages; returns the new ones, which are zero.
    /// Throws `errc::no_memory` or `errc::no_hugepages`, with wanted, available and the limit, and
    /// nothing has changed. `errc::no_memory` too when the kernel puts pages on another node.
    std::vector<page_run> obtain(std::size_t list, page_run wanted);

    /// Published pages, above those kept for ever, that none of the ranges touches: in bytes.
    /// `used` are the addresses of the list that zones cover, sorted.
    [[nodiscard]] std::uint64_t idle_bytes(std::size_t list,
                                           std::span<const byte_range> used) const;
    /// Gives such pages back, the highest first, until `keep_bytes` of them are left; returns those
    /// that are gone.
    std::vector<page_run> give_back(std::size_t list, std::span<const byte_range> used,
                                    std::uint64_t keep_bytes);

    /// Gives back each page of a list without a bit.
    void give_back_gaps(std::size_t list) noexcept;
    /// The same for all lists, and counts the pages with a bit. After a death.
    void repair() noexcept;

    [[nodiscard]] const numa_system& numa() const noexcept { return *numa_; }
    void use(const numa_system& numa) noexcept { numa_ = &numa; }

private:
    void check_limits(const memseg_list_layout& list, std::uint64_t more) const;
    void check_validators(std::size_t list, std::uint64_t more) const;
    void make(std::size_t list, page_run run);
    void check_node(const memseg_list_layout& list, page_run run) const;
    void punch(std::size_t list, page_run run) noexcept;

    memory_layout& layout_;
    const memseg_files& files_;
    const numa_system* numa_;
    const memory_watch* watch_;
};

}  // namespace cohort
