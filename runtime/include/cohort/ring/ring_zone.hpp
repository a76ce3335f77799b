#pragma once
/// The ring in a memzone, for whoever goes through those of a domain.
///
/// *Thread safety*: any thread. A look, no guard: its owner may write over it afterwards.
/// *When a process dies here*: nothing is written.

#include "cohort/memory/memory_layout.hpp"
#include "cohort/ring/ring_layout.hpp"

namespace cohort {

/// REQUIRES: a live entry of kind ring. nullptr when a member has written over the header.
[[nodiscard]] inline ring_layout* ring_in(const memzone_layout& zone) noexcept
{
    auto* ring = static_cast<ring_layout*>(zone.data());
    return has_sound_header(*ring, zone.length) ? ring : nullptr;
}

}  // namespace cohort
