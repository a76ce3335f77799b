#pragma once
/// Reserving, finding and releasing named spans of segment memory.
///
/// The semantics are those of rte_memzone: length 0 asks for the largest free span, alignment and
/// boundary are powers of two, page sizes may be demanded or only hinted, names are unique per
/// kind.
///
/// *Thread safety*: any thread with a lane, in any member, primary or not.
/// *When a process dies here*: see memory_layout.hpp; the memory lock is taken over from a dead
/// holder, entries in INIT or DYING of a dead member are emptied by the reaper.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/memory/memory_layout.hpp"
#include "cohort/memory/numa.hpp"
#include "cohort/sync/liveness_view.hpp"

#include <array>
#include <optional>
#include <string_view>

namespace cohort {

/// What a reservation wants.
struct zone_request {
    std::string_view name;  ///< 1 to 31 characters
    zone_kind kind = zone_kind::memzone;
    std::size_t bytes = 0;  ///< 0 = the largest free span
    std::size_t alignment = cache_line_bytes;
    std::size_t boundary = 0;          ///< the span does not cross a multiple of it; 0 = none
    std::optional<page_size> pages{};  ///< only on these pages ...
    bool pages_hint_only = false;      ///< ... or on others when these have no room
    int numa_node = any_numa_node;
    bool zeroed = true;  ///< false: what was there before may still be
};

/// Memory that a user brought, to be an arena of one heap.
struct external_span {
    std::string_view name;
    std::uint64_t address = 0;
    std::uint64_t length = 0;
    std::uint32_t heap = 0;  ///< index of the heap's entry
};

class memory {
public:
    using files = std::array<file_descriptor, max_memseg_lists>;

    /// `segment_files` must outlive this object.
    memory(memory_layout& layout, const files& segment_files, liveness_view lanes) noexcept;

    /// An entry in state INIT whose span is zeroed unless asked otherwise. Follow with `publish` or
    /// `release`. Throws `name_too_long`, `exists`, `invalid_argument`, `no_space`, `no_memory`,
    /// `stalled`.
    [[nodiscard]] memzone_layout& reserve(const zone_request& request, actor who);
    /// The same over memory outside the window, which is not touched. `who` has it attached. Throws
    /// `exists` when an entry covers part of it, `no_space`, `stalled`.
    [[nodiscard]] memzone_layout& reserve_external(const external_span& wanted, actor who);
    void publish(memzone_layout& zone, actor who) noexcept;

    /// The live entry of that kind and name, or nullptr. Lock-free; O(1) by hash.
    [[nodiscard]] memzone_layout* find(zone_kind kind, std::string_view name) const noexcept;

    /// LIVE -> DYING: true for exactly one caller, who then calls `release`.
    [[nodiscard]] bool begin_release(memzone_layout& zone, actor who) noexcept;
    /// DYING or INIT of this member -> EMPTY.
    void release(memzone_layout& zone) noexcept;

    /// Empties what a dead member left in INIT or DYING; returns how many entries that was.
    std::size_t undo_of(member_id dead) noexcept;

    [[nodiscard]] std::size_t index_of(const memzone_layout& zone) const noexcept
    {
        return static_cast<std::size_t>(&zone - layout_.zones);
    }
    [[nodiscard]] memory_layout& layout() const noexcept { return layout_; }
    [[nodiscard]] const files& segment_files() const noexcept { return files_; }
    [[nodiscard]] const liveness_view& lanes() const noexcept { return lanes_; }

    /// Bytes in pages, and bytes covered by entries, of one list.
    struct usage {
        std::uint64_t committed = 0;
        std::uint64_t used = 0;
    };
    [[nodiscard]] usage usage_of(std::size_t list) const noexcept;

private:
    struct span {
        std::size_t list = 0;
        std::uint64_t address = 0;
        std::uint64_t length = 0;
    };

    void check(const zone_request& request) const;
    [[nodiscard]] memzone_layout& free_entry(const zone_request& request) const;
    [[nodiscard]] span place(const zone_request& request);
    [[nodiscard]] std::optional<span> place_in_pages(const zone_request& request,
                                                     std::optional<page_size> pages);
    [[nodiscard]] std::optional<span> place_by_growth(const zone_request& request,
                                                      std::optional<page_size> pages);
    [[nodiscard]] std::optional<span> fit(std::size_t list, const zone_request& request,
                                          std::uint64_t limit) const;

    memory_layout& layout_;
    const files& files_;
    liveness_view lanes_;
};

}  // namespace cohort
