#pragma once
/// The audit: every buffer is in exactly one place, and no word names a dead lane.
///
///   count = in the pool's ring + in caches + in named rings + held by live members
///         + behind the heads of chains + kept by clones alone
///         + at the devices of ports
///         + kept by the domain
///         + waiting for redelivery, or for a member that can free its external memory
///
/// and each buffer has as many clones as its count word says.
///
/// Reads only, so it serves members and observers alike. While others work a buffer may be seen on
/// its way from one place to the next; so a live audit scans several times, with a pause in which a
/// thread that was preempted goes on, and reports only what stays unexplained, with the same word,
/// in all scans. At rest the sums are exact, and one scan will do.
///
/// *Thread safety*: any number at a time, beside anything.
/// *When a process dies here*: nothing was written.

#include "cohort/memory/memory_layout.hpp"
#include "cohort/recovery/recovery_layout.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace cohort {

/// The parts of a region that an audit reads.
struct audited_region {
    const memory_layout& memory;
    const member_table_layout& members;
    const recovery_layout& recovery;
};

struct pool_audit {
    std::string name;
    std::uint32_t count = 0;
    std::uint32_t in_pool = 0;  ///< in the pool's own ring
    std::uint32_t cached = 0;
    std::uint32_t in_rings = 0;
    std::uint32_t held = 0;        ///< by live members, outside their caches
    std::uint32_t followers = 0;   ///< segments behind a head, wherever that is
    std::uint32_t shared = 0;      ///< direct buffers that are in nobody's hands: clones keep them
    std::uint32_t at_devices = 0;  ///< of ports
    std::uint32_t kept = 0;        ///< by the domain, until somebody takes them
    std::uint32_t waiting = 0;
    std::uint32_t unexplained = 0;

    /// To be had, by some lane at least.
    [[nodiscard]] std::uint32_t free() const noexcept { return in_pool + cached; }
    [[nodiscard]] bool adds_up() const noexcept
    {
        return free() + in_rings + held + followers + shared + at_devices + kept + waiting == count;
    }
};

struct audit_report {
    std::vector<pool_audit> pools;
    std::vector<std::string> faults;  ///< one sentence each; empty = clean

    [[nodiscard]] bool clean() const noexcept { return faults.empty(); }
};

/// What one member holds of one pool, outside its caches.
struct holding {
    member_id member = 0;
    std::uint32_t generation = 0;
    std::uint32_t received = 0;  ///< packets taken from rings
    std::uint32_t fresh = 0;     ///< buffers got from the pool, or on their way back
    std::uint32_t cached = 0;
};

[[nodiscard]] audit_report audit(const audited_region& region, int scans = 3);

/// Who holds what of a pool: one pass, a snapshot.
[[nodiscard]] std::vector<holding> holders(const audited_region& region,
                                           const memzone_layout& pool);

}  // namespace cohort
