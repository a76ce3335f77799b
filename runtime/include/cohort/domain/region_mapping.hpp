#pragma once
/// A region as one process has it mapped: the window, the descriptors, the layout.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/domain/region_layout.hpp"
#include "cohort/memory/mapping.hpp"
#include "cohort/memory/memory.hpp"

#include <memory>

namespace cohort {

/// The descriptors that make up a domain, as they travel from member to member.
struct region_files {
    file_descriptor control;
    file_descriptor life;  ///< shares the domain's life byte, which is free when nobody is left
    memory::files segments;
};

/// Where the region goes, as its header says.
struct region_place {
    std::uintptr_t window_base = 0;
    std::size_t window_bytes = 0;
    std::size_t region_bytes = 0;
};

class region_mapping {
public:
    /// Reserves the window, maps the control region at its start and then every memseg list that
    /// the region names. Throws and leaves nothing mapped.
    region_mapping(region_files files, const region_place& place, map_access access);
    region_mapping(region_mapping&& other) noexcept;
    region_mapping& operator=(region_mapping&&) = delete;
    ~region_mapping();

    [[nodiscard]] region_layout& layout() const noexcept { return *layout_; }
    [[nodiscard]] const region_files& files() const noexcept { return *files_; }
    [[nodiscard]] const address_range& window() const noexcept { return window_; }

    /// Maps the segment files of a region whose lists have been written since.
    void map_segments(map_access access);

    /// Leaves everything mapped for the rest of the process: threads still hold sentinels in it.
    void abandon() noexcept;

private:
    void check_table(const void* table, std::uint64_t count, std::uint64_t each,
                     const char* what) const;
    void check_list(std::size_t index) const;

    struct control_mapping;  // Boost's mapped_region
    std::unique_ptr<region_files> files_;
    address_range window_;
    std::unique_ptr<control_mapping> control_;
    region_layout* layout_ = nullptr;
};

/// The audit of a region with its files: see recovery/audit.hpp and compare_with_files, which waits
/// so long for members to give back what nobody asked for.
[[nodiscard]] audit_report audit(const region_mapping& region,
                                 steady_clock::duration patience = 1s);

}  // namespace cohort
