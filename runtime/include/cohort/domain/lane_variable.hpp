#pragma once
/// A variable that each lane of a domain has for itself, and all members can read: what
/// RTE_DEFINE_PER_LCORE is for, except that it has a name and lies in the region.
///
///     auto counters = lane_variable<counters>::create(domain, "stage.counters");
///     counters.mine()->packets += n;               // no other lane writes there
///     counters.for_each([&](lane_id, counters& each) { sum += each.packets; });
///
/// It is a memzone of one slot for each lane, on cache lines of its own, zeroed when it is made.
/// Lanes are handed out by the region, so no two threads of any two processes share a slot. A slot
/// keeps its value when its lane goes from one thread to the next: sums over all slots lose nothing
/// when a thread or process ends.
///
/// *Thread safety*: `mine` by the lane's own thread; reads of other slots race with their owners
/// unless T is made of atomics.
/// *When a process dies here*: its slots stay as they were at its last store.

#include "cohort/base/error.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/domain/domain.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace cohort {

template <typename T>
class lane_variable {
    static_assert(shared_layout<T>, "what lies in the region has no pointers of its own to free");

public:
    /// Throws what `domain::reserve_memzone` throws: `exists` for a name that is taken ...
    [[nodiscard]] static lane_variable create(domain& shared, std::string_view name)
    {
        return {shared, shared.reserve_memzone(name, zone_bytes, {.alignment = alignment})};
    }
    /// Nothing when no memzone has that name. Throws `invalid_argument` for one of another size.
    [[nodiscard]] static std::optional<lane_variable> find(domain& shared, std::string_view name)
    {
        const auto zone = shared.find_memzone(name);
        if (!zone)
            return std::nullopt;
        if (zone.size() != zone_bytes)
            throw error{
                errc::invalid_argument,
                fmt::format("the memzone \"{}\" has {} bytes but a variable of {} bytes for "
                            "each lane needs {}; find it as it was created",
                            name, zone.size(), sizeof(T), zone_bytes)};
        return lane_variable{shared, zone};
    }

    /// The calling thread's own; nullptr when it has no lane because all are in use.
    [[nodiscard]] T* mine() const noexcept
    {
        const auto lane = members_->lane();
        return lane != 0 ? &of(lane) : nullptr;
    }
    /// `lane` from 1 to max_lanes - 1.
    [[nodiscard]] T& of(lane_id lane) const noexcept { return slots_[lane].value; }
    /// Calls `visit(lane_id, T&)` for all lanes, in use or not.
    template <typename Visit>
    void for_each(Visit&& visit) const
    {
        for (lane_id lane = 1; lane != max_lanes; ++lane)
            visit(lane, of(lane));
    }

private:
    static constexpr std::size_t alignment = std::max(alignof(T), cache_line_bytes);
    struct alignas(alignment) slot {
        T value;
    };
    static constexpr std::size_t zone_bytes = max_lanes * sizeof(slot);

    lane_variable(domain& shared, memzone zone) noexcept
        : members_{&shared.members()}
        , slots_{reinterpret_cast<slot*>(zone.data())}
    {
    }

    membership* members_;
    slot* slots_;
};

}  // namespace cohort
