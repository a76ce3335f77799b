#include "cohort/recovery/device_buffers.hpp"

#include "cohort/base/fault_point.hpp"
#include "cohort/port/port_layout.hpp"
#include "cohort/recovery/object_view.hpp"

namespace cohort {
namespace {

bool is_of_port(std::uint64_t word, std::uint16_t port) noexcept
{
    return custody::is_at_device(word) && custody::ring_of(word) == port;
}

/// The packets of the pool that the device of that port has get the word `next`.
void retag(mempool_layout& pool, std::uint16_t port, std::uint64_t next, std::vector<mbuf*>& all)
{
    for (std::uint32_t i = 0, count = pool.count(); i != count; ++i) {
        auto word = custody_of(pool, i);
        if (!is_of_port(word, port))
            continue;
        all.push_back(static_cast<mbuf*>(pool.handle(i)));
        custody::word_at(all.back(), pool.custody_offset)
            .compare_exchange_strong(word, next, std::memory_order_acq_rel);
    }
}

/// nullptr when the port has no such pool, or that is gone.
mempool_layout* device_pool_of(const memory_layout& memory, const port_layout& port) noexcept
{
    if (port.device_pool == 0 || port.device_pool > memory.zone_count)
        return nullptr;
    const auto& zone = memory.zones[port.device_pool - 1];
    return zone.is_live() && zone.kind == zone_kind::mempool
               ? static_cast<mempool_layout*>(zone.data())
               : nullptr;
}

}  // namespace

std::vector<mbuf*> take_back_from_devices(const memory_layout& memory, member_id destroyer,
                                          std::uint64_t holder)
{
    std::vector<mbuf*> all;
    for_each_used(memory, [&](const memzone_layout& zone) {
        const auto word = zone.word();
        if (zone.kind != zone_kind::port || word.state != zone_state::dying ||
            word.member != destroyer)
            return;
        const auto& port = *static_cast<const port_layout*>(zone.data());
        auto* pool = device_pool_of(memory, port);
        if (!pool)
            return;
        if (port.device_keeps.load(std::memory_order_acquire) == 0) {
            retag(*pool, port.index, holder, all);
        } else {
            std::vector<mbuf*> kept;
            retag(*pool, port.index, custody::at_device(custody::no_port, 0), kept);
        }
        COHORT_FAULT_POINT("port.taken_back");
    });
    return all;
}

std::optional<std::string_view> find_device_user(const memory_layout& memory,
                                                 const memzone_layout& pool) noexcept
{
    std::optional<std::string_view> user;
    const auto index = static_cast<std::uint32_t>(&pool - memory.zones) + 1;
    for_each_used(memory, [&](const memzone_layout& zone) {
        if (zone.kind == zone_kind::port && zone.word().state != zone_state::empty &&
            static_cast<const port_layout*>(zone.data())->device_pool == index)
            user = zone.name.view();
    });
    const auto& layout = *static_cast<const mempool_layout*>(pool.data());
    for (std::uint32_t i = 0; !user && i != layout.count(); ++i)
        if (is_of_port(custody_of(layout, i), custody::no_port))
            user = "";
    return user;
}

}  // namespace cohort
