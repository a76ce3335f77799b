#pragma once
// Killing a member at a moment when the region shows it holding packets, and what was found of it.

#include "cohort/domain/domain.hpp"

#include <string_view>

namespace cohort::test {

[[nodiscard]] inline bool shows_holding(domain& with, std::string_view pool, member_ref victim)
{
    const auto* entry = with.segments().find(zone_kind::mempool, pool);
    for (const auto& held : holders(audited(with.region()), *entry))
        if (held.member == victim.id && held.generation == victim.generation)
            return held.received + held.fresh > 0;
    return false;
}

/// nullptr until it is reaped.
[[nodiscard]] inline const obituary_layout* obituary_of(domain& with, member_ref victim)
{
    if (with.members().members().is_current(victim))
        return nullptr;
    for (const auto& obituary : with.region().recovery.obituaries)
        if (obituary.number.load() != 0 && obituary.member == victim.id &&
            obituary.generation == victim.generation)
            return &obituary;
    return nullptr;
}

}  // namespace cohort::test
