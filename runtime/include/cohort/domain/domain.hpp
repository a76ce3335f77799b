#pragma once
/// A domain as a member sees it: the place where named objects are created and found.
///
/// Made by `primary::start` or `secondary::attach`. Objects live in the region until they are
/// destroyed or the last member is gone; they outlive their creator. Handles returned here are
/// cheap and are valid as long as the domain object is.
///
/// *Thread safety*: all calls from any thread. A thread gets a lane on first use.
/// *When a process dies here*: a half-created object vanishes when its creator is reaped.

#include "cohort/domain/heap.hpp"
#include "cohort/domain/region_layout.hpp"
#include "cohort/domain/region_mapping.hpp"
#include "cohort/memory/memzone.hpp"
#include "cohort/packet/mbuf.hpp"
#include "cohort/port/port.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace cohort {

struct memzone_options {
    std::size_t alignment = cache_line_bytes;
    std::size_t boundary = 0;
    std::optional<page_size> pages{};
    bool pages_hint_only = false;
    int numa_node = any_numa_node;  ///< any: the caller's node, then others
    bool node_hint_only = false;
};

struct port_options {
    std::string_view rx_pool{};  ///< name of the pktmbuf pool for all rx queues
};

/// Where a ring's elements carry their custody word; specialise for pointers to pool objects.
template <typename T>
inline constexpr std::int32_t custody_offset_of = no_custody;
template <>
inline constexpr std::int32_t custody_offset_of<mbuf*> = mbuf_custody_offset;

class domain {
public:
    domain(region_mapping region, member_ref self);
    domain(const domain&) = delete;
    domain& operator=(const domain&) = delete;
    /// Leaves in an orderly way: what this member still holds is recovered as if it had died.
    virtual ~domain();

    [[nodiscard]] std::string_view name() const noexcept;

    /// `capacity` elements exactly, 1 to 2^30. Rings of `mbuf*` carry custody.
    template <typename T>
    ring<T> create_ring(std::string_view name, std::uint32_t capacity,
                        const ring_options& options = {})
    {
        return ring<T>{
            create_ring_layout(name, capacity, sizeof(T), custody_offset_of<T>, options)};
    }
    /// Nothing when no ring has that name. Throws `errc::invalid_argument` for another element
    /// size.
    template <typename T>
    [[nodiscard]] std::optional<ring<T>> find_ring(std::string_view name)
    {
        auto* layout = find_ring_layout(name, sizeof(T));
        return layout ? std::optional<ring<T>>{ring<T>{*layout}} : std::nullopt;
    }
    /// The ring must be empty of buffers and unused. False when there is none of that name. Throws
    /// `errc::stalled` behind a reaper or a leaver that is stopped; so do the other destroying
    /// calls.
    bool destroy_ring(std::string_view name);

    mempool create_mempool(std::string_view name, const mempool_options& options);
    [[nodiscard]] std::optional<mempool> find_mempool(std::string_view name);

    pktmbuf_pool create_pktmbuf_pool(std::string_view name, const pktmbuf_options& options = {});
    [[nodiscard]] std::optional<pktmbuf_pool> find_pktmbuf_pool(std::string_view name);
    /// The pool must be whole and unused. False when there is none of that name.
    bool destroy_mempool(std::string_view name);

    /// Zeroed memory under a name; 0 bytes = the largest free span.
    memzone reserve_memzone(std::string_view name, std::size_t bytes,
                            const memzone_options& options = {});
    /// Empty when no memzone has that name.
    [[nodiscard]] memzone find_memzone(std::string_view name) const noexcept;
    /// False when there is none of that name, or, by its handle, when it has been released.
    bool release_memzone(std::string_view name);
    bool release_memzone(const memzone& zone);
    /// Calls `visit(memzone)` for each memzone.
    template <typename Visit>
    void for_each_memzone(Visit&& visit) const
    {
        for_each_live(memory_.layout(), zone_kind::memzone,
                      [&](const auto& entry) { visit(memzone{entry}); });
    }
    /// Gives all pages that nothing uses back to the kernel, those kept for the next span too.
    void give_back_memory() { memory_.give_back_idle(who(), memory::idle_pages::all); }
    /// `agrees` is asked before this process grows the domain: see memory_watch.hpp. Others' growth
    /// is for theirs to decide.
    void validate_growth(memory_watch::validator agrees)
    {
        memory_.watch().validate(std::move(agrees));
    }

    /// The heap of a node, made on first use by whichever member asks. `any_numa_node` means node
    /// 0. The handle is cheap to copy. Throws `errc::no_memory`, `no_space`, `stalled`.
    [[nodiscard]] cohort::heap heap(int numa_node = any_numa_node);

    /// An external heap: without memory until `heap::add_memory` brings some. Throws `exists`,
    /// `name_too_long`, `invalid_argument` for an empty name, `no_permission` for one that begins
    /// with "heap." or "cohort.": those are the domain's own.
    [[nodiscard]] cohort::heap create_heap(std::string_view name);
    /// Nothing when no heap has that name. Those of nodes are "heap.0" and so on.
    [[nodiscard]] std::optional<cohort::heap> find_heap(std::string_view name) noexcept;
    /// The heap must be unused. False when there is none of that name. Throws `in_use` while it has
    /// memory, `no_permission` for a heap of a node.
    bool destroy_heap(std::string_view name);
    /// The heap that has a used block there; nothing when none has, or it lies in external memory
    /// that this member has not attached.
    [[nodiscard]] std::optional<cohort::heap> heap_of(const void* block) noexcept;

    /// "pcap:rx=in.pcap,tx=out.pcap": driver and its options.
    port create_port(std::string_view name, std::string_view spec,
                     const port_options& options = {});
    [[nodiscard]] std::optional<port> find_port(std::string_view name);

    /// Gives the calling thread a named lane, pinned to a processor unless `cpu` is negative.
    void enter_lane(std::string_view name, int cpu = -1) { membership_.enter_lane(name, cpu); }
    void leave_lane() noexcept { membership_.leave_lane(); }

    [[nodiscard]] member_ref self() const noexcept { return membership_.self(); }
    [[nodiscard]] region_layout& region() const noexcept { return region_.layout(); }
    [[nodiscard]] const region_mapping& mapping() const noexcept { return region_; }
    [[nodiscard]] membership& members() noexcept { return membership_; }
    [[nodiscard]] memory& segments() noexcept { return memory_; }

private:
    ring_layout& create_ring_layout(std::string_view name, std::uint32_t capacity,
                                    std::uint32_t element_bytes, std::int32_t custody_offset,
                                    const ring_options& options);
    ring_layout* find_ring_layout(std::string_view name, std::uint32_t element_bytes);
    mempool_layout* find_pool_layout(std::string_view name, pool_kind kind);
    [[nodiscard]] actor who();
    bool destroy(zone_kind kind, std::string_view name);
    bool destroy(memzone_layout& zone);
    void await_leavers(memzone_layout& zone, actor acting);
    void leave_everything(lane_id lane) noexcept;
    [[nodiscard]] bool settle() noexcept;

    region_mapping region_;
    memory memory_;
    membership membership_;
};

}  // namespace cohort
