// Pools of a domain: made whole, made empty, and given objects later.

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/domain/domain.hpp"
#include "cohort/pool/pool_growth.hpp"
#include "entry_scopes.hpp"

#include <cstring>
#include <thread>

#include <fmt/format.h>

namespace cohort {
namespace {

bool lies_in(std::span<const std::byte> memory, std::uint64_t address, std::uint64_t bytes) noexcept
{
    const auto offset = reinterpret_cast<std::uint64_t>(memory.data()) - address;
    return offset < bytes && memory.size() <= bytes - offset;
}

/// Others have no pointer to memory outside the window.
void check_pieces(const pktmbuf_options& options, const region_header& region)
{
    for (const auto piece : options.pieces)
        if (!lies_in(piece, region.window_base, region.window_bytes))
            throw error{errc::invalid_argument,
                        fmt::format("a piece of memory at {} lies outside the domain's window; use "
                                    "a memzone or heap block",
                                    fmt::ptr(piece.data()))};
}

void check_empty(std::string_view name, const object_constructor& construct, bool pinned)
{
    if (construct || pinned)
        throw error{errc::invalid_argument,
                    fmt::format("the pool \"{}\" is to be made empty, with {} for its objects; {}",
                                name, pinned ? "pinned memory" : "a constructor",
                                pinned ? "create it whole" : "give that to populate")};
}

/// One at a time adds to a pool, or destroys it.
class growing_guard {
public:
    static constexpr auto patience = 5s;

    /// `find` gives the pool, or nullptr when there is none. It is asked, and the lock tried, with
    /// the recovery lock: meanwhile no pool goes, and nothing of one that has gone is written to.
    template <typename Find>
    growing_guard(owner_lock& recovery, actor who, const membership& self, std::string_view name,
                  Find find)
    {
        const auto ask = [&](lane_id lane) { return self.liveness().is_dead(lane); };
        for (const auto until = deadline_in(patience);; std::this_thread::sleep_for(1ms)) {
            const recovery_lock_guard nothing_goes{recovery, who, self, name};
            mempool_layout* pool = find();
            // taken_over needs no repair: what was not listed is written over.
            if (!pool || pool->growing.lock(who.lane, deadline{}, ask) != lock_result::stalled) {
                pool_ = pool;
                return;
            }
            if (steady_clock::now() >= until)
                throw error{errc::stalled,
                            fmt::format("pool \"{}\" is left as it is: lane {} has been adding to "
                                        "it for more than {} s; see \"cohort lanes\"",
                                        name, pool->growing.holder(), patience.count())};
        }
    }
    ~growing_guard()
    {
        if (pool_)
            pool_->growing.unlock();
    }
    growing_guard(const growing_guard&) = delete;
    growing_guard& operator=(const growing_guard&) = delete;

    /// The pool is no more.
    void forget() noexcept { pool_ = nullptr; }
    [[nodiscard]] bool has_pool() const noexcept { return pool_ != nullptr; }

private:
    mempool_layout* pool_ = nullptr;
};

/// REQUIRES: the growing lock.
void check_room(const mempool_layout& pool, std::string_view name, std::uint32_t wanted)
{
    const auto room = pool.capacity - pool.count();
    if (room == 0 || wanted > room)
        throw error{errc::no_space,
                    fmt::format("pool \"{}\" has {} of {} objects and cannot get {} more; create "
                                "it with a larger count",
                                name, pool.capacity - room, pool.capacity, wanted)};
    if (pool.listed().size() == max_pool_chunks)
        throw error{errc::no_space,
                    fmt::format("pool \"{}\" has {} chunks of memory already; add more objects at "
                                "a time",
                                name, max_pool_chunks)};
}

}  // namespace

mempool domain::create_mempool(std::string_view name, const mempool_options& options)
{
    return create_mempool(name, options, pool_filling::at_once);
}

mempool domain::create_empty_mempool(std::string_view name, const mempool_options& options)
{
    check_empty(name, options.construct, false);
    return create_mempool(name, options, pool_filling::later);
}

mempool domain::create_mempool(std::string_view name, const mempool_options& options,
                               pool_filling when)
{
    check(options);
    new_entry entry{memory_,
                    {.name = name,
                     .kind = zone_kind::mempool,
                     .bytes = mempool_bytes(options, object_header_bytes, when),
                     .numa_node = options.numa_node},
                    who()};
    auto& pool = construct_mempool(entry.data(), options, object_header_bytes,
                                   object_custody_offset, pool_kind::objects, entry.index(), when);
    fill_mempool(pool, options.construct);
    entry.publish();
    return mempool{pool};
}

pktmbuf_pool domain::create_pktmbuf_pool(std::string_view name, const pktmbuf_options& options)
{
    return create_pktmbuf_pool(name, options, pool_filling::at_once);
}

pktmbuf_pool domain::create_empty_pktmbuf_pool(std::string_view name,
                                               const pktmbuf_options& options)
{
    check_empty(name, options.construct, !options.pieces.empty());
    return create_pktmbuf_pool(name, options, pool_filling::later);
}

pktmbuf_pool domain::create_pktmbuf_pool(std::string_view name, const pktmbuf_options& options,
                                         pool_filling when)
{
    const auto objects = as_mempool(options);
    check(objects);
    check_pieces(options, region_.layout().header);
    new_entry entry{memory_,
                    {.name = name,
                     .kind = zone_kind::mempool,
                     .bytes = pktmbuf_pool_bytes(options, when),
                     .numa_node = options.numa_node},
                    who()};
    auto& pool = construct_mempool(entry.data(), objects, 0, mbuf_custody_offset,
                                   pool_kind::pktmbuf, entry.index(), when);
    COHORT_FAULT_POINT("pool.constructed");
    initialise_mbufs(pool, options, when);
    fill_mempool(pool, options.construct);
    entry.publish();
    return pktmbuf_pool{pool};
}

const memzone_layout& domain::entry_of(const mempool_layout& pool) const
{
    const memzone_layout* found = nullptr;
    for_each_live(memory_.layout(), zone_kind::mempool, [&](const memzone_layout& zone) {
        found = zone.data() == &pool ? &zone : found;
    });
    if (!found)
        throw error{errc::not_found,
                    fmt::format("there is no pool at {}: it has been destroyed; \"cohort pools\" "
                                "lists those that are there",
                                fmt::ptr(&pool))};
    return *found;
}

/// The memzone or heap arena that all of it lies in.
const memzone_layout& domain::entry_around(std::span<const std::byte> memory) const
{
    const memzone_layout* found = nullptr;
    for (const auto kind : {zone_kind::memzone, zone_kind::heap_arena, zone_kind::object})
        for_each_live(memory_.layout(), kind, [&](const memzone_layout& zone) {
            if (!zone.is_external() && lies_in(memory, zone.address, zone.length))
                found = &zone;
        });
    if (!found)
        throw error{errc::invalid_argument,
                    fmt::format("the {} bytes of memory at {} are in no memzone or heap block of "
                                "the domain; take them from one",
                                memory.size(), fmt::ptr(memory.data()))};
    return *found;
}

/// What a pool has already is not brought to another.
void domain::refuse_used(std::span<const std::byte> memory) const
{
    for_each_live(memory_.layout(), zone_kind::mempool, [&](const memzone_layout& zone) {
        for (const auto& chunk : static_cast<const mempool_layout*>(zone.data())->listed()) {
            const auto at = reinterpret_cast<std::uint64_t>(memory.data());
            if (at < chunk.address + chunk.bytes && chunk.address < at + memory.size())
                throw error{errc::exists,
                            fmt::format("pool \"{}\" has objects in the memory at {}; bring other "
                                        "memory",
                                        zone.name.view(), fmt::ptr(memory.data()))};
        }
    });
}

/// Nobody else sees these objects yet. From when they are listed on they are held by this member.
void domain::construct_chunk(mempool_layout& pool, const pool_chunk_layout& chunk,
                             const object_constructor& construct)
{
    for (std::uint32_t i = 0; i != chunk.count; ++i) {
        void* object = handle_in(pool, chunk, i);
        if (pool.kind == pool_kind::pktmbuf)
            initialise_mbuf(pool, object);
        else
            std::memset(static_cast<std::byte*>(object) - pool.header_bytes, 0, pool.header_bytes);
        custody::word_at(object, pool.custody_offset)
            .store(membership_.holder(), std::memory_order_relaxed);  // LISTED
        if (construct)
            construct(object, chunk.first + i);
    }
    COHORT_FAULT_POINT("pool.chunk_made");
}

std::uint32_t domain::populate(const mempool& given, const populate_options& how)
{
    auto& pool = given.layout();
    const auto acting = who();
    const auto name = entry_of(pool).name;
    const growing_guard growing{region_.layout().recovery.lock, acting, membership_, name.view(),
                                [&] {
                                    static_cast<void>(entry_of(pool));
                                    return &pool;
                                }};
    const auto count = how.count == 0 ? pool.capacity - pool.count() : how.count;
    check_room(pool, name.view(), count);
    const auto number = pool.growths.fetch_add(1, std::memory_order_relaxed);  // locked
    new_entry entry{memory_,
                    {.name = fmt::format("pool.{}.{}", pool.index, number),
                     .kind = zone_kind::pool_chunk,
                     .bytes = align_up(chunk_bytes(pool, count), std::uint64_t{cache_line_bytes}),
                     .alignment = pool.alignment,
                     .numa_node = how.numa_node,
                     .parent = pool.index},
                    acting};
    const auto& zone = memory_.layout().zones[entry.index()];
    auto chunk = plan_chunk(pool, zone.address, zone.length);
    chunk.count = count;
    chunk.zone = entry.index();
    chunk.generation = zone.word().generation;
    chunk.memory = chunk_memory::reserved;
    construct_chunk(pool, chunk, how.construct);
    {
        const recovery_lock_guard no_reaper{region_.layout().recovery.lock, acting, membership_,
                                            name.view()};
        list_chunk(pool, chunk);
        entry.publish();
    }
    put_chunk(pool, chunk, acting.lane);
    return chunk.count;
}

std::uint32_t domain::populate(const mempool& given, std::span<std::byte> memory,
                               const object_constructor& construct)
{
    auto& pool = given.layout();
    const auto acting = who();
    const auto name = entry_of(pool).name;
    const growing_guard growing{region_.layout().recovery.lock, acting, membership_, name.view(),
                                [&] {
                                    static_cast<void>(entry_of(pool));
                                    return &pool;
                                }};
    check_room(pool, name.view(), 1);
    const auto& around = entry_around(memory);
    refuse_used(memory);
    const auto generation = around.word().generation;
    auto chunk = plan_chunk(pool, reinterpret_cast<std::uint64_t>(memory.data()), memory.size());
    if (chunk.count == 0)
        throw error{errc::no_space,
                    fmt::format("not one object of pool \"{}\", of {} bytes, fits into the {} "
                                "bytes of memory at {}; bring more",
                                name.view(), pool.stride, memory.size(), fmt::ptr(memory.data()))};
    chunk.zone = static_cast<std::uint32_t>(memory_.index_of(around));
    chunk.generation = generation;
    chunk.memory = chunk_memory::brought;
    construct_chunk(pool, chunk, construct);
    {
        // With it nobody releases a memzone.
        const recovery_lock_guard no_reaper{region_.layout().recovery.lock, acting, membership_,
                                            name.view()};
        if (!around.is_live() || around.word().generation != generation)
            throw error{errc::not_found,
                        fmt::format("the memory brought to pool \"{}\", at {}, has been released "
                                    "meanwhile; keep it as long as the pool",
                                    name.view(), fmt::ptr(memory.data()))};
        refuse_used(memory);  // who brings it to two pools at once gets it into one
        list_chunk(pool, chunk);
    }
    put_chunk(pool, chunk, acting.lane);
    return chunk.count;
}

void domain::check_unused(const memzone_layout& zone) const
{
    if (zone.kind != zone_kind::memzone)
        return;
    if (const auto* pool = pool_in(memory_, zone))
        throw error{errc::in_use,
                    fmt::format("memzone \"{}\" holds objects of pool \"{}\"; destroy that first",
                                zone.name.view(), pool->name.view())};
}

bool domain::destroy_mempool(std::string_view name)
{
    memzone_layout* zone = nullptr;
    growing_guard growing{region_.layout().recovery.lock, who(), membership_, name, [&] {
                              zone = memory_.find(zone_kind::mempool, name);
                              return zone ? static_cast<mempool_layout*>(zone->data()) : nullptr;
                          }};
    if (!growing.has_pool())
        return false;
    const bool ours = destroy(*zone);
    if (ours)
        growing.forget();
    return ours;
}

mempool_layout* domain::find_pool_layout(std::string_view name, pool_kind kind)
{
    auto* zone = memory_.find(zone_kind::mempool, name);
    auto* pool = zone ? static_cast<mempool_layout*>(zone->data()) : nullptr;
    return pool && pool->kind == kind ? pool : nullptr;
}

std::optional<mempool> domain::find_mempool(std::string_view name)
{
    auto* pool = find_pool_layout(name, pool_kind::objects);
    return pool ? std::optional{mempool{*pool}} : std::nullopt;
}

std::optional<pktmbuf_pool> domain::find_pktmbuf_pool(std::string_view name)
{
    auto* pool = find_pool_layout(name, pool_kind::pktmbuf);
    return pool ? std::optional{pktmbuf_pool{*pool}} : std::nullopt;
}

}  // namespace cohort
