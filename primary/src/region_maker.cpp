#include "cohort/primary/region_maker.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/memory/cgroup.hpp"
#include "cohort/memory/page_supply.hpp"
#include "cohort/memory/segment_file.hpp"
#include "cohort/memory/window.hpp"
#include "cohort/primary/page_plan.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <new>

#include <boost/interprocess/permissions.hpp>
#include <boost/interprocess/shared_memory_object.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cohort::primary {
namespace {

namespace bip = boost::interprocess;

/// The name under which a region exists for the few instructions between its creation and its
/// removal: one for each rendezvous directory, so that the next start finds what a killed one left.
std::string transient_name(const rendezvous& place)
{
    const auto& path = place.directory();
    return fmt::format("cohort-{}-{:016x}", ::geteuid(), fnv1a(path.data(), path.size()));
}

file_descriptor make_control_file(const rendezvous& place, std::size_t bytes)
{
    check_file_limit(bytes);
    check_cgroup(page_size::small, bytes);
    const auto name = transient_name(place);
    try {
        bip::shared_memory_object file{bip::create_only, name.c_str(), bip::read_write,
                                       bip::permissions{0600}};
        COHORT_FAULT_POINT("region.named");
        bip::shared_memory_object::remove(name.c_str());
        file_descriptor control{::fcntl(file.get_mapping_handle().handle, F_DUPFD_CLOEXEC, 3)};
        if (!control)
            throw_errno(errno, "cannot duplicate the region's descriptor");
        if (const int failure = ::posix_fallocate(control.get(), 0, static_cast<off_t>(bytes)))
            throw error{
                errc::no_memory,
                fmt::format("cannot get {} bytes in /dev/shm for the region: {}; free some of "
                            "/dev/shm or make it larger",
                            bytes, describe_errno(failure))};
        return control;
    } catch (const bip::interprocess_exception& refused) {
        throw_errno(refused.get_native_error(),
                    fmt::format("cannot make the region /dev/shm/{}", name));
    }
}

/// A member of another user opens them anew, to read only, for an observer.
void open_files_to(unsigned group, const region_files& files)
{
    const auto open = [&](const file_descriptor& file) {
        if (file &&
            (::fchown(file.get(), unsigned(-1), group) != 0 || ::fchmod(file.get(), 0660) != 0))
            throw_errno(errno, fmt::format("cannot open a file of the region to group {}", group));
    };
    open(files.control);
    for (const auto& segment : files.segments)
        open(segment);
}

/// Windows that live domains of the same root use.
std::vector<region_place> windows_in_use(const rendezvous& place)
{
    std::vector<region_place> used;
    std::error_code ignored;
    for (const auto& sibling : std::filesystem::directory_iterator{place.root(), ignored}) {
        if (sibling.path() == place.directory() ||
            !std::filesystem::exists(sibling.path() / "lock", ignored))
            continue;
        try {
            const lock_description lock{(sibling.path() / "lock").string(),
                                        lock_description::open_mode::existing};
            const auto record = lock.read_place();
            if (record && (lock.is_locked(lock_description::life_byte) ||
                           lock.is_locked(lock_description::primary_byte)))
                used.push_back(record->place);
        } catch (const error&) {
            // Not ours to read: the kernel will say if its window is in the way.
        }
    }
    return used;
}

/// Where windows of that length may begin.
std::vector<std::uintptr_t> window_bases(std::size_t bytes)
{
    std::vector<std::uintptr_t> bases;
    for (std::size_t slot = 0; slot != window_slots; ++slot)
        bases.push_back(window_slot_base(slot));
    for (std::size_t slot = 0; slot != large_slots; ++slot)
        bases.push_back(large_slot_base(slot));
    const bool small = bytes <= window_slots * window_slot_bytes;
    std::erase_if(bases, [&](std::uintptr_t base) {
        return !is_window(base, bytes) || (small && base < window_area_begin);
    });
    return bases;
}

std::uintptr_t choose_window(const start_options& options, const rendezvous& place,
                             std::size_t bytes)
{
    if (options.window_base) {
        if (!is_window(*options.window_base, bytes))
            throw error{
                errc::invalid_argument,
                fmt::format("a window of {} cannot begin at {:#x}: windows begin at one of the {} "
                            "slots from {:#x}, {} apart, or of the {} from {:#x}, {} apart",
                            bytes_text(bytes), *options.window_base, window_slots,
                            window_area_begin, bytes_text(window_slot_bytes), large_slots,
                            large_area_begin, bytes_text(large_slot_bytes))};
        return *options.window_base;
    }
    const auto used = windows_in_use(place);
    const auto meets = [&](std::uintptr_t base, const region_place& other) {
        return base < other.window_base + other.window_bytes && other.window_base < base + bytes;
    };
    std::optional<std::uintptr_t> refused;
    for (const auto base : window_bases(bytes)) {
        if (std::any_of(used.begin(), used.end(),
                        [&](const auto& other) { return meets(base, other); }))
            continue;
        if (range_is_free(base, bytes))
            return base;
        refused = refused.value_or(base);
    }
    if (refused)
        return *refused;  // mapping it will say what is in the way: a mapping, or a limit
    throw error{errc::window_taken,
                fmt::format("no window of {} is free: live domains under {} use {}; stop one of "
                            "them",
                            bytes_text(bytes), place.root(), used.size())};
}

/// The tables behind the region_layout: entries, then a map of pages for each list.
void lay_out_tables(memory_layout& memory, std::byte* place, const start_options& options)
{
    memory.zone_count = options.max_zones;
    memory.zones = reinterpret_cast<memzone_layout*>(place);
    std::uninitialized_default_construct_n(memory.zones, memory.zone_count);
    place += memory.zone_count * sizeof(memzone_layout);
    for (std::size_t i = 0; i != memory.list_count; ++i) {
        auto& list = memory.lists[i];
        // All zero, as the file is: no page exists.
        list.page_map = reinterpret_cast<std::atomic<std::uint64_t>*>(place);
        place +=
            align_up(page_map::words_for(list.max_bytes / list.page_bytes) * 8, cache_line_bytes);
    }
}

void lay_out_memory(memory_layout& memory, const start_options& options, std::uintptr_t window,
                    const page_plan& plan)
{
    auto base = window + control_reserve_bytes;
    memory.list_count = static_cast<std::uint32_t>(plan.lists.size());
    for (std::size_t i = 0; i != plan.lists.size(); ++i) {
        const auto& planned = plan.lists[i];
        auto& list = memory.lists[i];
        list.page_bytes = bytes(planned.size);
        list.numa_node = planned.node;
        list.backing = planned.huge_dir.empty() ? page_backing::memfd : page_backing::hugetlbfs;
        list.transparent = planned.transparent;
        list.base = base;
        list.max_bytes = planned.max_bytes;
        list.kept_bytes = planned.at_start;
        base += planned.max_bytes;
    }
    memory.emulated_nodes = options.emulated_nodes;
    std::copy(options.node_limits.begin(), options.node_limits.end(), memory.node_limits);
    for (const auto& [size, limit] : options.page_limits)
        memory.page_limits[page_size_index(bytes(size))] = limit;
}

void lay_out(region_layout& region, const start_options& options, const region_place& where,
             const page_plan& plan)
{
    ::new (&region) region_layout;
    auto& header = region.header;
    header.layout_hash = layout_hash();
    header.region_bytes = where.region_bytes;
    header.window_base = where.window_base;
    header.window_bytes = where.window_bytes;
    header.created_ns = monotonic_ns();
    header.creator_uid = ::geteuid();
    header.name = fixed_name<64>{options.name};
    member_table{region.members}.create();
    lay_out_memory(region.memory, options, where.window_base, plan);
    lay_out_tables(region.memory, reinterpret_cast<std::byte*>(&region + 1), options);
}

/// The pages of the start. Nobody else sees the region yet, so there is no lock to hold.
void fill_lists(const region_mapping& mapping, const page_plan& plan, const numa_system& numa)
{
    page_supply supply{mapping.layout().memory, mapping.files().segments, numa};
    for (std::size_t i = 0; i != plan.lists.size(); ++i)
        static_cast<void>(
            supply.obtain(i, {0, plan.lists[i].at_start / bytes(plan.lists[i].size)}));
}

}  // namespace

void remove_debris(const rendezvous& place)
{
    bip::shared_memory_object::remove(transient_name(place).c_str());
    std::error_code ignored;
    for (const auto& left : std::filesystem::directory_iterator{place.directory(), ignored})
        if (left.path().extension() == ".sock")
            std::filesystem::remove(left.path(), ignored);
}

namespace {

region_mapping try_region(const start_options& options, const rendezvous& place,
                          const lock_description& lock)
{
    refuse_locked_future();
    const auto& numa = numa_of(options.emulated_nodes);
    const auto plan = plan_pages(options, numa);
    const region_place where{
        .window_base = choose_window(options, place, plan.window_bytes),
        .window_bytes = plan.window_bytes,
        .region_bytes =
            align_up(sizeof(region_layout) + tables_bytes(options, plan), std::size_t{4096})};
    region_files files;
    files.control = make_control_file(place, where.region_bytes);
    for (std::size_t i = 0; i != plan.lists.size(); ++i) {
        const auto& list = plan.lists[i];
        files.segments[i] = create_segment_file(list.size, list.max_bytes, list.huge_dir);
    }
    if (const auto group = place.group())
        open_files_to(*group, files);
    COHORT_FAULT_POINT("region.files");

    lock_description life{place.lock_file(), lock_description::open_mode::existing};
    if (!life.try_lock(lock_description::life_byte))
        throw error{errc::domain_alive,
                    fmt::format("domain \"{}\" still has members", place.name())};
    life.share(lock_description::life_byte);
    files.life = life.take();
    lock.write_place(where, ::getpid());

    region_mapping mapping{std::move(files), where, map_access::read_write};
    lay_out(mapping.layout(), options, where, plan);
    mapping.map_segments(map_access::read_write);
    fill_lists(mapping, plan, numa);
    mapping.layout().header.magic = region_header::magic_value;
    COHORT_FAULT_POINT("region.laid_out");
    mapping.layout().header.state.store(static_cast<std::uint32_t>(region_state::ready),
                                        std::memory_order_release);  // READY
    return mapping;
}

}  // namespace

region_mapping make_region(const start_options& options, const rendezvous& place,
                           const lock_description& lock)
{
    try {
        return try_region(options, place, lock);
    } catch (const error& refused) {
        // Somebody else took the hugepages between the look at them and their use.
        if (options.huge != huge_policy::automatic || refused.reason() != errc::no_hugepages)
            throw;
    }
    auto without = options;
    without.huge = huge_policy::none;
    return try_region(without, place, lock);
}

}  // namespace cohort::primary
