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
#include "cohort/domain/node_heaps.hpp"
#include "cohort/domain/object_layout.hpp"
#include "cohort/domain/region_layout.hpp"
#include "cohort/domain/region_mapping.hpp"
#include "cohort/memory/memzone.hpp"
#include "cohort/packet/mbuf_custody.hpp"
#include "cohort/port/port.hpp"
#include "cohort/port/port_capture.hpp"
#include "cohort/port/port_host.hpp"
#include "cohort/recovery/whereabouts.hpp"
#include "cohort/ring/element_ring.hpp"
#include "cohort/ring/ring_zone.hpp"
#include "cohort/ring/stack.hpp"
#include "cohort/ring/staged_ring.hpp"

#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

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
    std::string_view rx_pool{};        ///< name of the pktmbuf pool for all rx queues
    std::uint32_t rx_descriptors = 0;  ///< of each queue; 0 = the driver's default
    std::uint32_t tx_descriptors = 0;
    bool drop_on_empty_pool = false;  ///< see rx_queue_setup
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
        return ring<T>{create_ring_layout(name, capacity, sizeof(T), ring<T>::published,
                                          custody_offset_of<T>, options)};
    }
    /// Nothing when no ring has that name. Throws `errc::invalid_argument` for another element
    /// size, and for values where it holds pointers or the other way round.
    template <typename T>
    [[nodiscard]] std::optional<ring<T>> find_ring(std::string_view name)
    {
        auto* layout = find_ring_layout(name, sizeof(T), ring<T>::published);
        return layout ? std::optional<ring<T>>{ring<T>{*layout}} : std::nullopt;
    }
    /// The same for elements of `element_bytes`, a multiple of 4 up to 64 KiB, not known to the
    /// compiler. `find_element_ring` finds any ring of values.
    element_ring create_element_ring(std::string_view name, std::uint32_t element_bytes,
                                     std::uint32_t capacity, const ring_options& options = {});
    [[nodiscard]] std::optional<element_ring> find_element_ring(std::string_view name);
    /// Calls `visit(name, const ring_layout&)` for each ring; see also `dump`.
    template <typename Visit>
    void for_each_ring(Visit&& visit) const
    {
        for_each_live(memory_.layout(), zone_kind::ring, [&](const auto& entry) {
            if (const auto* ring = ring_in(entry))
                visit(entry.name.view(), *ring);
        });
    }
    /// The ring must be empty of buffers and unused. False when there is none of that name. Throws
    /// `errc::stalled` behind a reaper or a leaver that is stopped; so do the other destroying
    /// calls.
    bool destroy_ring(std::string_view name);

    /// `capacity` elements, last in, first out: see ring/stack.hpp. Stacks and rings share their
    /// names and `destroy_ring`; the errors are the same.
    template <typename T>
    stack<T> create_stack(std::string_view name, std::uint32_t capacity,
                          std::uint32_t stall_limit_us = ring_options{}.stall_limit_us)
    {
        return stack<T>{create_ring_layout(name, capacity, sizeof(T), publication::by_height,
                                           custody_offset_of<T>,
                                           {.stall_limit_us = stall_limit_us})};
    }
    template <typename T>
    [[nodiscard]] std::optional<stack<T>> find_stack(std::string_view name)
    {
        auto* layout = find_ring_layout(name, sizeof(T), publication::by_height);
        return layout ? std::optional<stack<T>>{stack<T>{*layout}} : std::nullopt;
    }

    /// `capacity` elements that pass `stages` stages in order, 1 to 32: see ring/staged_ring.hpp.
    /// They share their names and `destroy_ring` with rings; the errors are the same, and
    /// `invalid_argument` for another number of stages.
    template <typename T>
    staged_ring<T> create_staged_ring(std::string_view name, std::uint32_t capacity,
                                      const staged_ring_options& options)
    {
        return staged_ring<T>{create_ring_layout(name, capacity, sizeof(T), publication::in_stages,
                                                 custody_offset_of<T>, as_ring_options(options))};
    }
    template <typename T>
    [[nodiscard]] std::optional<staged_ring<T>> find_staged_ring(std::string_view name)
    {
        auto* layout = find_ring_layout(name, sizeof(T), publication::in_stages);
        return layout ? std::optional<staged_ring<T>>{staged_ring<T>{*layout}} : std::nullopt;
    }

    mempool create_mempool(std::string_view name, const mempool_options& options);
    [[nodiscard]] std::optional<mempool> find_mempool(std::string_view name);

    pktmbuf_pool create_pktmbuf_pool(std::string_view name, const pktmbuf_options& options = {});
    [[nodiscard]] std::optional<pktmbuf_pool> find_pktmbuf_pool(std::string_view name);

    /// Pools without objects, for `populate` (rte_mempool_create_empty). `count` is the most they
    /// may get. Throws `invalid_argument` for a constructor or pinned memory, too.
    mempool create_empty_mempool(std::string_view name, const mempool_options& options);
    pktmbuf_pool create_empty_pktmbuf_pool(std::string_view name,
                                           const pktmbuf_options& options = {});
    /// Adds objects to a pool that members may be using, in one span of memory of the domain, and
    /// returns how many that were (rte_mempool_populate_default; but a pool that has objects is
    /// given those that it lacks). All or none. Throws `no_space` when the pool lacks fewer, or has
    /// 64 chunks; `no_memory`, `no_hugepages`; `stalled` behind another grower that is stopped, or
    /// a reaper; `not_found` when the pool has been destroyed.
    std::uint32_t populate(const mempool& pool, const populate_options& how = {});
    /// The same over memory of the user's: inside one memzone or heap block, and there as long as
    /// the pool (rte_mempool_populate_iova). As many as fit and as the pool lacks; the bytes of
    /// elements are left as they are. Throws `invalid_argument` for memory elsewhere, `exists` when
    /// a pool has objects there, and `no_space` also when not one fits.
    std::uint32_t populate(const mempool& pool, std::span<std::byte> memory,
                           const object_constructor& construct = {});
    /// Room in every mbuf of the domain, by name: see mbuf_dynamic.hpp, which has the errors;
    /// `errc::stalled` behind a reaper that is stopped.
    std::size_t register_dynfield(const dynfield_params& wanted,
                                  std::optional<std::size_t> offset = {});
    template <typename T>
    dynfield<T> register_dynfield(std::string_view field)
    {
        return dynfield<T>{
            register_dynfield({.name = field, .size = sizeof(T), .align = alignof(T)})};
    }
    unsigned register_dynflag(const dynflag_params& wanted, std::optional<unsigned> bit = {});
    /// Nothing when no field or flag has that name.
    [[nodiscard]] std::optional<std::size_t> find_dynfield(std::string_view field) const noexcept;
    [[nodiscard]] std::optional<unsigned> find_dynflag(std::string_view flag) const noexcept;

    /// Hands a packet of this member over without a ring: see mbuf_custody.hpp. False, and it stays
    /// here, when no such member lives. A member that dies in this moment takes it along.
    [[nodiscard]] bool give(mbuf& packet, member_ref to) noexcept;
    /// Where a buffer or pool object is, by a look through all rings and caches: for debugging.
    [[nodiscard]] whereabouts find(const void* object);

    /// The pool must be whole and unused. False when there is none of that name. Memory that users
    /// brought to it is theirs again.
    bool destroy_mempool(std::string_view name);

    /// An object of the users' own under a name, `T{arguments...}`: nobody finds it before it is
    /// made, and one whose creator dies or throws on the way vanishes. What members do with it at
    /// the same time is theirs to order: by atomics, or a robust_lock inside. The reference is good
    /// until the object is destroyed. Throws `exists`, `name_too_long` (31 characters),
    /// `no_memory`, `no_space`, `stalled`.
    template <typename T, typename... Arguments>
    T& create(std::string_view name, Arguments&&... arguments)
    {
        static_assert(shared_layout<T>, "what lies in the region has no destructor to run");
        return *static_cast<T*>(create_object(name, object_type::of<T>(), [&](void* place) {
            ::new (place) T{std::forward<Arguments>(arguments)...};
        }));
    }
    /// nullptr when no object has that name. Throws `invalid_argument` for another type or size.
    template <typename T>
    [[nodiscard]] T* find(std::string_view name)
    {
        return static_cast<T*>(find_object(name, object_type::of<T>()));
    }
    /// False when there is none of that name. References to it must be out of use.
    bool destroy_object(std::string_view name);

    /// Zeroed memory under a name; 0 bytes = the largest free span.
    memzone reserve_memzone(std::string_view name, std::size_t bytes,
                            const memzone_options& options = {});
    /// Empty when no memzone has that name.
    [[nodiscard]] memzone find_memzone(std::string_view name) const noexcept;
    /// False when there is none of that name, or, by its handle, when it has been released. Throws
    /// `in_use` while objects of a pool lie in it.
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

    /// The heaps of all nodes as one: each call is served on the node that its thread is on, and on
    /// the others when that one cannot (as rte_malloc). With a node: that node's heap, which takes
    /// memory there and nowhere else (as rte_malloc_socket). Heaps of nodes are made on first use
    /// by whichever member asks. The handle is cheap to copy. Throws `errc::no_memory`, `no_space`,
    /// `stalled`, `invalid_argument` for a node that the domain does not have.
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

    /// "pcap:rx=in.pcap,tx=out.pcap": driver and its options (port/drivers.hpp). The port is
    /// started. Throws what the driver throws, and `invalid_argument` for a set-up that cannot be.
    port create_port(std::string_view name, std::string_view spec,
                     const port_options& options = {});
    /// Nothing when no port has that name, or it is being closed.
    [[nodiscard]] std::optional<port> find_port(std::string_view name);
    /// Takes the port away from all members, while others run: handles of it move no packet any
    /// more. False when there is none of that name. Throws `in_use` when a live lane does not let
    /// go of a queue, which it does at its next burst; the port is stopped then.
    bool destroy_port(std::string_view name);
    /// Reads along what passes a port: see port_capture.hpp. The first time, that reserves 1 MiB
    /// for each queue, which stay until the port is destroyed. Throws `not_found`, `in_use`, and
    /// `no_memory`, `no_space`, `stalled`.
    [[nodiscard]] port_capture capture_port(std::string_view name,
                                            std::uint32_t snap_length = max_capture_length);
    /// Calls `visit(name, const port_layout&)` for each port.
    template <typename Visit>
    void for_each_port(Visit&& visit) const
    {
        for_each_live(memory_.layout(), zone_kind::port, [&](const auto& entry) {
            visit(entry.name.view(), *static_cast<const port_layout*>(entry.data()));
        });
    }

    /// Gives the calling thread a named lane, pinned to a processor unless `cpu` is negative.
    void enter_lane(std::string_view name, int cpu = -1) { membership_.enter_lane(name, cpu); }
    void leave_lane() noexcept { membership_.leave_lane(); }

    [[nodiscard]] member_ref self() const noexcept { return membership_.self(); }
    [[nodiscard]] region_layout& region() const noexcept { return region_.layout(); }
    [[nodiscard]] const region_mapping& mapping() const noexcept { return region_; }
    [[nodiscard]] membership& members() noexcept { return membership_; }
    [[nodiscard]] memory& segments() noexcept { return memory_; }
    [[nodiscard]] port_host& ports() noexcept { return port_host_; }

private:
    ring_layout& create_ring_layout(std::string_view name, std::uint32_t capacity,
                                    std::uint32_t element_bytes, publication how,
                                    std::int32_t custody_offset, const ring_options& options);
    ring_layout* find_ring_layout(std::string_view name, std::uint32_t element_bytes,
                                  publication how);
    mempool create_mempool(std::string_view name, const mempool_options& options,
                           pool_filling when);
    pktmbuf_pool create_pktmbuf_pool(std::string_view name, const pktmbuf_options& options,
                                     pool_filling when);
    mempool_layout* find_pool_layout(std::string_view name, pool_kind kind);
    [[nodiscard]] const memzone_layout& entry_of(const mempool_layout& pool) const;
    [[nodiscard]] const memzone_layout& entry_around(std::span<const std::byte> memory) const;
    void refuse_used(std::span<const std::byte> memory) const;
    void construct_chunk(mempool_layout& pool, const pool_chunk_layout& chunk,
                         const object_constructor& construct);
    void check_unused(const memzone_layout& zone) const;
    void* create_object(std::string_view name, const object_type& type,
                        const std::function<void(void*)>& construct);
    void* find_object(std::string_view name, const object_type& type);
    [[nodiscard]] actor who();
    bool destroy(zone_kind kind, std::string_view name);
    bool destroy(memzone_layout& zone);
    void await_leavers(memzone_layout& zone, actor acting);
    void refuse_device_memory(const memzone_layout& pool) const;
    void secure_device_pool(const port_layout& port, std::string_view name);
    void leave_everything(lane_id lane) noexcept;
    [[nodiscard]] bool settle() noexcept;

    region_mapping region_;
    memory memory_;
    membership membership_;
    node_heaps node_heaps_;
    port_host port_host_{memory_};
};

}  // namespace cohort
