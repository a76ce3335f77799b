#pragma once
/// Reserving, finding and releasing named spans of segment memory.
///
/// The semantics are those of rte_memzone: length 0 asks for the largest free span, alignment and
/// boundary are powers of two, page sizes may be demanded or only hinted, names are unique per
/// kind. Pages are made when a span needs them, in the order of the lists, and given back to the
/// kernel when none does, but for some that are kept for the next one.
///
/// *Thread safety*: any thread with a lane, in any member, primary or not.
/// *When a process dies here*: see memory_layout.hpp; the memory lock is taken over from a dead
/// holder, entries in INIT or DYING of a dead member are emptied by the reaper.

#include "cohort/base/error.hpp"
#include "cohort/memory/memory_watch.hpp"
#include "cohort/memory/page_supply.hpp"
#include "cohort/sync/liveness_view.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

/// What a reservation wants.
struct zone_request {
    std::string_view name;  ///< 1 to 31 characters
    zone_kind kind = zone_kind::memzone;
    std::size_t bytes = 0;  ///< 0 = the largest free span, or with a boundary as many as that
    std::size_t alignment = cache_line_bytes;  ///< at least that; less is raised
    std::size_t boundary = 0;          ///< the span does not cross a multiple of it; 0 = none
    std::optional<page_size> pages{};  ///< only on these pages ...
    bool pages_hint_only = false;      ///< ... or on others when these have no room
    int numa_node = any_numa_node;     ///< any: the caller's node, then others
    bool node_hint_only = false;       ///< on other nodes, flagged, when this one has no room
    bool zeroed = true;                ///< false: what was there before may still be
    std::uint32_t parent = 0;          ///< of a heap arena or pool chunk: see memzone_layout
};

/// Idle pages of a list that are kept, in bytes: given back are those above twice as much, down to
/// this, so that a span that comes and goes at the edge of a page does not make and unmake it.
[[nodiscard]] constexpr std::uint64_t idle_bytes_kept(std::uint64_t page_bytes) noexcept
{
    return page_bytes > 16_MiB ? page_bytes : 16_MiB;
}

/// Memory that a user brought, to be an arena of one heap.
struct external_span {
    std::string_view name;
    std::uint64_t address = 0;
    std::uint64_t length = 0;
    std::uint32_t heap = 0;  ///< index of the heap's entry
};

class memory {
public:
    using files = memseg_files;

    /// `segment_files` must outlive this object.
    memory(memory_layout& layout, const files& segment_files, liveness_view lanes) noexcept;

    /// An entry in state INIT whose span is zeroed unless asked otherwise. Follow with `publish` or
    /// `release`. Throws `name_too_long`, `exists`, `invalid_argument`, `no_space`, `no_memory`,
    /// `no_hugepages`, `stalled`; then nothing has changed.
    [[nodiscard]] memzone_layout& reserve(const zone_request& request, actor who);
    /// The same over memory outside the window, which is not touched. `who` has it attached. Throws
    /// `exists` when an entry covers part of it, `no_space`, `stalled`.
    [[nodiscard]] memzone_layout& reserve_external(const external_span& wanted, actor who);
    void publish(memzone_layout& zone, actor who) noexcept;

    /// The live entry of that kind and name, or nullptr. Lock-free; O(1) by hash.
    [[nodiscard]] memzone_layout* find(zone_kind kind, std::string_view name) const noexcept;

    /// LIVE -> DYING: true for exactly one caller, who then calls `release`.
    [[nodiscard]] bool begin_release(memzone_layout& zone, actor who) noexcept;
    /// DYING or INIT of this member -> EMPTY. Its pages stay until `give_back_idle`.
    void release(memzone_layout& zone) noexcept;

    /// Gives pages that nothing covers back to the kernel: those above what is kept, or `all`.
    /// Waits for nobody: behind a live holder of the memory lock it does nothing, for the next
    /// caller to do.
    enum class idle_pages { kept, all };
    void give_back_idle(actor who, idle_pages which = idle_pages::kept) noexcept;

    /// Gives back pages that exist and are not published: somebody without the lock read a hole, or
    /// the kernel made hugepages around pages and is no longer allowed to. Costs a system call for
    /// each list when there are none; waits for nobody, as `give_back_idle`, and for a while after
    /// it was in vain does nothing, unless `at_once`.
    void give_back_strays(actor who, bool at_once = false);

    /// For the reaper: takes the memory lock over from this dead lane, if that has it, and repairs.
    void repair_after(lane_id dead, actor who) noexcept;
    /// Empties what a dead member left in INIT or DYING; returns how many entries that was. It
    /// hears of no more events.
    std::size_t undo_of(member_id dead) noexcept;

    [[nodiscard]] std::size_t index_of(const memzone_layout& zone) const noexcept
    {
        return static_cast<std::size_t>(&zone - layout_.zones);
    }
    [[nodiscard]] memory_layout& layout() const noexcept { return layout_; }
    [[nodiscard]] const files& segment_files() const noexcept { return files_; }
    [[nodiscard]] const liveness_view& lanes() const noexcept { return lanes_; }

    /// The first thing that is wrong: bits, counts, files, spans. Holds the lock meanwhile; throws
    /// `errc::stalled`. A page made by somebody who read a hole is a fault, too.
    [[nodiscard]] std::optional<std::string> find_fault(actor who);

    /// Calls `work` while no memory changes hands: nothing is reserved, and no page comes or goes.
    /// What an object was in stays that, or nobody's, so whoever does not own an object may write
    /// to it here, if it is there. False, and nothing was called, when the memory lock was not to
    /// be had in time. `work` is short: others wait for it.
    template <typename Work>
    [[nodiscard]] bool hold_still(actor who, deadline until, Work&& work) noexcept
    {
        if (!begin_stillness(who, until))
            return false;
        work();
        layout_.lock.unlock();
        return true;
    }

    [[nodiscard]] memory_watch& watch() noexcept { return watch_; }

    /// The nodes that this process sees. A test may bring its own.
    [[nodiscard]] const numa_system& numa() const noexcept { return supply_.numa(); }
    void use(const numa_system& numa) noexcept { supply_.use(numa); }

private:
    class guard;
    [[nodiscard]] bool begin_stillness(actor who, deadline until) noexcept;
    struct span {
        std::size_t list = 0;
        std::uint64_t address = 0;
        std::uint64_t length = 0;
        std::vector<page_run> fresh{};  ///< pages made for it
        std::uint32_t flags = 0;
    };

    [[nodiscard]] static zone_request checked(zone_request request);
    [[nodiscard]] memzone_layout& free_entry(const zone_request& request) const;
    void tell(memory_event::kind what, std::size_t list, std::span<const page_run> runs,
              actor who) const noexcept;
    void describe(memzone_layout& zone, const zone_request& request, const span& where,
                  actor who) noexcept;
    void raise_high_water(const span& where) noexcept;
    void open(memzone_layout& zone, actor who) noexcept;

    // placement.cpp
    [[nodiscard]] span place(const zone_request& request);
    [[nodiscard]] std::optional<span> place_in_pages(const std::vector<std::size_t>& lists,
                                                     const zone_request& request) const;
    [[nodiscard]] std::optional<span> place_by_growth(const std::vector<std::size_t>& lists,
                                                      const zone_request& request,
                                                      std::optional<error>& refusal);
    [[nodiscard]] std::vector<byte_range> dirty_parts(const span& where) const;

    memory_layout& layout_;
    const files& files_;
    liveness_view lanes_;
    memory_watch watch_;
    page_supply supply_;
    /// Giving strays back was in vain, as behind a hugepage that is pinned: not again before then.
    std::array<std::atomic<deadline>, max_memseg_lists> not_before_{};
};

/// Pages that a file has and its list has not published, or the other way round: one sentence for
/// each list. Holds no lock, so it says what stays the same over several looks; nothing while
/// somebody holds the lock, for then pages are on their way, or left by the dead to whoever takes
/// it over. Too many pages are a fault when no member has given them back within the patience, see
/// `give_back_strays`; none while the kernel is allowed to make transparent hugepages for the
/// list, for it then makes more by itself.
[[nodiscard]] std::vector<std::string> compare_with_files(const memory_layout& layout,
                                                          const memory::files& segment_files,
                                                          steady_clock::duration patience = 1s);

}  // namespace cohort
