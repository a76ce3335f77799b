// Heaps over memory that users bring, as rte_malloc_heap_create and its kin have them.

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/domain/domain.hpp"
#include "entry_scopes.hpp"

#include <fmt/format.h>

namespace cohort {
namespace {

/// Names by which the domain calls its own.
bool is_reserved(std::string_view name) noexcept
{
    return name.starts_with("heap.") || name.starts_with("cohort.");
}

/// The region that a domain's memory_layout stands in.
const region_header& header_above(const memory_layout& memory) noexcept
{
    const auto* place = reinterpret_cast<const std::byte*>(&memory);
    return reinterpret_cast<const region_layout*>(place - offsetof(region_layout, memory))->header;
}

}  // namespace

// --- heap ----------------------------------------------------------------------------------------

actor heap::acting() const
{
    const auto who = self_->who();
    if (who.lane == 0)
        throw error{errc::no_space,
                    fmt::format("this thread has no lane: all {} are in use", max_lanes - 1)};
    return who;
}

std::string_view heap::name() const noexcept
{
    return segments_->layout().zones[layout_->index].name.view();
}

void heap::add_memory(std::span<std::byte> piece)
{
    const auto& window = header_above(segments_->layout());
    const auto start = reinterpret_cast<std::uintptr_t>(piece.data());
    if (is_external() && start < window.window_base + window.window_bytes &&
        window.window_base < start + piece.size())
        throw error{errc::exists,
                    fmt::format("the memory at {:#x} with {} bytes lies in the domain's window, "
                                "{:#x} with {} bytes; map it elsewhere",
                                start, piece.size(), window.window_base, window.window_bytes)};
    blocks().add_memory(piece, acting());
}

void heap::remove_memory(std::span<std::byte> piece)
{
    blocks().remove_memory(piece, acting());
}

void heap::attach_memory(std::span<std::byte> piece)
{
    blocks().attach_memory(piece, acting());
}

void heap::detach_memory(std::span<std::byte> piece)
{
    blocks().detach_memory(piece, acting());
}

void heap::forget_memory(std::span<std::byte> piece)
{
    blocks().forget_memory(piece, acting());
}

// --- domain --------------------------------------------------------------------------------------

cohort::heap domain::create_heap(std::string_view name)
{
    if (is_reserved(name))
        throw error{errc::no_permission,
                    fmt::format("the name \"{}\" is not for heaps of your own: \"heap.\" and "
                                "\"cohort.\" begin the domain's names",
                                name)};
    new_entry entry{
        memory_, {.name = name, .kind = zone_kind::heap, .bytes = sizeof(heap_layout)}, who()};
    heap_blocks::construct_external(entry.data(), entry.index());
    COHORT_FAULT_POINT("heap.created");
    const auto& zone = entry.publish();
    return {*static_cast<heap_layout*>(zone.data()), memory_, membership_};
}

std::optional<cohort::heap> domain::find_heap(std::string_view name) noexcept
{
    const auto* zone = memory_.find(zone_kind::heap, name);
    if (!zone)
        return std::nullopt;
    return cohort::heap{*static_cast<heap_layout*>(zone->data()), memory_, membership_};
}

bool domain::destroy_heap(std::string_view name)
{
    const auto* zone = memory_.find(zone_kind::heap, name);
    if (!zone)
        return false;
    const auto acting = who();
    const recovery_lock_guard guard{region_.layout().recovery.lock, acting, membership_, name};
    return heap_blocks{*static_cast<heap_layout*>(zone->data()), memory_}.retire(acting);
}

std::optional<cohort::heap> domain::heap_of(const void* block) noexcept
{
    auto* owner = heap_blocks::owner_of(memory_, const_cast<void*>(block), self().id);
    if (!owner)
        return std::nullopt;
    return cohort::heap{*owner, memory_, membership_};
}

}  // namespace cohort
