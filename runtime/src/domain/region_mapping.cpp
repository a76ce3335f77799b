#include "cohort/domain/region_mapping.hpp"

#include "cohort/base/error.hpp"
#include "cohort/memory/page_map.hpp"
#include "cohort/memory/window.hpp"

#include <bit>
#include <utility>

#include <boost/interprocess/mapped_region.hpp>
#include <fmt/format.h>

#include <sys/mman.h>
#include <sys/stat.h>

namespace cohort {
namespace {

/// What Boost's mapped_region takes: something with a mapping handle.
class mappable_descriptor {
public:
    explicit mappable_descriptor(int fd) noexcept : fd_{fd} {}
    [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const noexcept
    {
        return {fd_, false};
    }

private:
    int fd_;
};

boost::interprocess::mapped_region map_control(int fd, const region_place& place, map_access access)
{
    const auto mode = access == map_access::read_only ? boost::interprocess::read_only
                                                      : boost::interprocess::read_write;
    try {
        // MAP_FIXED: the reservation below is ours and is replaced, never a stranger's mapping.
        return {mappable_descriptor{fd},
                mode,
                0,
                place.region_bytes,
                reinterpret_cast<void*>(place.window_base),
                MAP_FIXED};
    } catch (const boost::interprocess::interprocess_exception& refused) {
        throw_errno(refused.get_native_error(),
                    fmt::format("cannot map the region of {} bytes at {:#x}", place.region_bytes,
                                place.window_base));
    }
}

}  // namespace

struct region_mapping::control_mapping {
    boost::interprocess::mapped_region region;
};

region_mapping::region_mapping(region_files files, const region_place& place, map_access access)
    : files_{std::make_unique<region_files>(std::move(files))}
    , window_{place.window_base, place.window_bytes}
    , control_{std::make_unique<control_mapping>(
          control_mapping{map_control(files_->control.get(), place, access)})}
    , layout_{static_cast<region_layout*>(control_->region.get_address())}
{
    // From here on the control mapping is unmapped by its own destructor.
    keep_private(place.window_base, place.region_bytes);
    map_segments(access);
}

region_mapping::region_mapping(region_mapping&& other) noexcept
    : files_{std::move(other.files_)}
    , window_{std::move(other.window_)}
    , control_{std::move(other.control_)}
    , layout_{std::exchange(other.layout_, nullptr)}
{
}

region_mapping::~region_mapping()
{
    if (control_)
        window_.give_up_front(align_up(control_->region.get_size(),
                                       std::size_t{4096}));  // each byte is unmapped once
}

/// A table that the region names must lie in it, behind its layout.
void region_mapping::check_table(const void* table, std::uint64_t count, std::uint64_t each,
                                 const char* what) const
{
    const auto begin = reinterpret_cast<std::uintptr_t>(layout_ + 1);
    const auto end = reinterpret_cast<std::uintptr_t>(layout_) + control_->region.get_size();
    const auto at = reinterpret_cast<std::uintptr_t>(table);
    if (at < begin || at > end || count > (end - at) / each)
        throw error{errc::region_garbage,
                    fmt::format("the {} of {} entries at {:#x} lies outside the region; stop its "
                                "members and start the primary anew",
                                what, count, at)};
}

void region_mapping::check_list(std::size_t index) const
{
    const auto& list = layout_->memory.lists[index];
    if (!files_->segments[index])
        throw error{errc::region_garbage,
                    fmt::format("the region names memseg list {} but its file did not come; stop "
                                "its members and start the primary anew",
                                index)};
    if (!window_.contains(reinterpret_cast<void*>(list.base), list.max_bytes) ||
        list.base < window_.base() + control_reserve_bytes)
        throw error{errc::region_garbage,
                    fmt::format("memseg list {} at {:#x} with {} bytes lies outside the window; "
                                "stop its members and start the primary anew",
                                index, list.base, list.max_bytes)};
    if (!std::has_single_bit(list.page_bytes) || list.page_bytes < 4_KiB)
        throw error{errc::region_garbage,
                    fmt::format("memseg list {} has pages of {} bytes; stop its members and start "
                                "the primary anew",
                                index, list.page_bytes)};
    check_table(list.page_map, page_map::words_for(list.max_bytes / list.page_bytes), 8,
                "map of pages");
    struct stat status {};
    if (::fstat(files_->segments[index].get(), &status) != 0 ||
        static_cast<std::uint64_t>(status.st_size) < list.max_bytes)
        throw error{errc::region_truncated,
                    fmt::format("the file of memseg list {} has {} bytes but the list needs {}; "
                                "stop its members and start the primary anew",
                                index, status.st_size, list.max_bytes)};
}

void region_mapping::map_segments(map_access access)
{
    const auto& memory = layout_->memory;
    if (memory.list_count > max_memseg_lists)
        throw error{errc::region_garbage,
                    fmt::format("the region names {} memseg lists but at most {} can be; stop its "
                                "members and start the primary anew",
                                memory.list_count, max_memseg_lists)};
    if (memory.list_count == 0)  // nothing has been laid out yet
        return;
    if (memory.zone_count == 0 || memory.zone_count > max_zones)
        throw error{errc::region_garbage,
                    fmt::format("the region has {} names but 1 to {} can be; stop its members and "
                                "start the primary anew",
                                memory.zone_count, max_zones)};
    check_table(memory.zones, memory.zone_count, sizeof(memzone_layout), "table of names");
    for (std::size_t i = 0; i != memory.list_count; ++i) {
        const auto& list = memory.lists[i];
        check_list(i);
        window_.map(list.base, files_->segments[i].get(), list.max_bytes, access, "a memseg list");
        if (list.transparent != 0)
            ::madvise(reinterpret_cast<void*>(list.base), list.max_bytes, MADV_HUGEPAGE);
    }
}

void region_mapping::abandon() noexcept
{
    window_.give_up_front(window_.bytes());
    static_cast<void>(control_.release());
    static_cast<void>(files_.release());
}

audit_report audit(const region_mapping& region, steady_clock::duration patience)
{
    auto report = audit(audited(region.layout()));
    for (auto& fault :
         compare_with_files(region.layout().memory, region.files().segments, patience))
        report.faults.push_back(std::move(fault));
    return report;
}

}  // namespace cohort
