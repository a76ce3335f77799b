#include "cohort/primary/region_maker.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/memory/cgroup.hpp"
#include "cohort/memory/segment_file.hpp"
#include "cohort/memory/window.hpp"

#include <cerrno>
#include <filesystem>
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

std::uintptr_t choose_window(const start_options& options, const rendezvous& place)
{
    if (options.window_base) {
        const auto base = *options.window_base;
        if (base < window_area_begin ||
            base % window_slot_bytes != window_area_begin % window_slot_bytes ||
            base >= window_slot_base(window_slots))
            throw error{
                errc::invalid_argument,
                fmt::format(
                    "the window base {:#x} must be one of the {} slots from {:#x}, {} apart", base,
                    window_slots, window_area_begin, bytes_text(window_slot_bytes))};
        return base;
    }
    const auto used = windows_in_use(place);
    std::optional<std::uintptr_t> refused;
    for (std::size_t slot = 0; slot != window_slots; ++slot) {
        const auto base = window_slot_base(slot);
        if (std::any_of(used.begin(), used.end(),
                        [&](const auto& other) { return other.window_base == base; }))
            continue;
        if (range_is_free(base, window_slot_bytes))
            return base;
        refused = refused.value_or(base);
    }
    if (refused)
        return *refused;  // mapping it will say what is in the way: a mapping, or a limit
    throw error{
        errc::window_taken,
        fmt::format("all {} window slots are used by live domains under {}; stop one of them",
                    window_slots, place.root())};
}

struct list_plan {
    page_size size;
    std::uint64_t committed;
    std::uint64_t max_bytes;
};

/// Hugepages first when they are wanted and there; small pages always, for growth.
std::vector<list_plan> plan_lists(const start_options& options)
{
    std::vector<list_plan> plan;
    std::optional<page_size> huge;
    const auto fits = [&](page_size size) {
        return align_up(std::uint64_t{options.memory}, bytes(size)) <= obtainable_bytes(size);
    };
    if (options.huge == huge_policy::only_2m ||
        (options.huge == huge_policy::automatic && fits(page_size::huge_2m)))
        huge = page_size::huge_2m;
    if (options.huge == huge_policy::only_1g)
        huge = page_size::huge_1g;
    if (huge && !fits(*huge)) {
        check_cgroup(*huge, align_up(std::uint64_t{options.memory}, bytes(*huge)));
        throw error{errc::no_hugepages,
                    fmt::format("{} in pages of {} are required but {} are free; reserve more in "
                                "/sys/kernel/mm/hugepages or start with --huge none",
                                bytes_text(align_up(std::uint64_t{options.memory}, bytes(*huge))),
                                to_text(*huge), bytes_text(available_bytes(*huge)))};
    }
    if (huge)
        plan.push_back({*huge, align_up(std::uint64_t{options.memory}, bytes(*huge)), 40_GiB});
    plan.push_back(
        {page_size::small, huge ? 0 : align_up(std::uint64_t{options.memory}, 4_KiB), 16_GiB});
    if (options.memory > plan.front().max_bytes)
        throw error{errc::invalid_argument,
                    fmt::format("{} of memory are asked for; a window holds at most {} of {} pages",
                                bytes_text(options.memory), bytes_text(plan.front().max_bytes),
                                to_text(plan.front().size))};
    return plan;
}

void lay_out(region_layout& region, const start_options& options, const region_place& where,
             const std::vector<list_plan>& plan, const region_mapping& mapping)
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

    auto base = where.window_base + control_reserve_bytes;
    for (std::size_t i = 0; i != plan.size(); ++i) {
        auto& list = region.memory.lists[i];
        list.page_bytes = bytes(plan[i].size);
        list.base = base;
        list.max_bytes = plan[i].max_bytes;
        base += plan[i].max_bytes;
        if (plan[i].committed != 0)
            commit_pages(mapping.files().segments[i].get(), plan[i].size, 0, plan[i].committed,
                         any_numa_node);
        list.committed.store(plan[i].committed, std::memory_order_release);  // GROWN
    }
    header.magic = region_header::magic_value;
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

region_mapping make_region(const start_options& options, const rendezvous& place,
                           const lock_description& lock)
{
    refuse_locked_future();
    const auto plan = plan_lists(options);
    const region_place where{.window_base = choose_window(options, place),
                             .window_bytes = window_slot_bytes,
                             .region_bytes = align_up(sizeof(region_layout), std::size_t{4096})};
    region_files files;
    files.control = make_control_file(place, where.region_bytes);
    for (std::size_t i = 0; i != plan.size(); ++i)
        files.segments[i] = create_segment_file(plan[i].size, plan[i].max_bytes);
    COHORT_FAULT_POINT("region.files");

    lock_description life{place.lock_file(), lock_description::open_mode::existing};
    if (!life.try_lock(lock_description::life_byte))
        throw error{errc::domain_alive,
                    fmt::format("domain \"{}\" still has members", place.name())};
    life.share(lock_description::life_byte);
    files.life = life.take();
    lock.write_place(where, ::getpid());

    region_mapping mapping{std::move(files), where, map_access::read_write};
    lay_out(mapping.layout(), options, where, plan, mapping);
    mapping.map_segments(map_access::read_write);
    COHORT_FAULT_POINT("region.laid_out");
    mapping.layout().header.state.store(static_cast<std::uint32_t>(region_state::ready),
                                        std::memory_order_release);  // READY
    return mapping;
}

}  // namespace cohort::primary
