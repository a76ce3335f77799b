#pragma once
/// What the processes of the pipeline share, by name.
///
///   reader ==> to_worker.0 ==> worker 0 ==> to_writer ==> writer
///          ==> to_worker.1 ==> worker 1 ==>
///              redelivered ==> any worker        packets that a dead process had in hand
///
/// One ring for each worker, chosen by the hash of the flow, keeps the packets of a flow in order.
/// Sizes: what the rings hold together with all caches and bursts is less than the pool, so a slow
/// stage fills its ring and the stages before it wait; nobody drops a packet.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/fixed_name.hpp"
#include "cohort/base/shared_type.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace pipeline {

inline constexpr const char* pool_name = "packets";
inline constexpr const char* port_name = "capture";
inline constexpr const char* redelivered_name = "redelivered";
inline constexpr const char* to_writer_name = "to_writer";
inline constexpr const char* progress_name = "pipeline";

inline constexpr std::uint32_t pool_count = 8192;
inline constexpr std::uint32_t to_worker_capacity = 256;
inline constexpr std::uint32_t to_writer_capacity = 1024;
inline constexpr std::uint32_t redelivered_capacity = 1024;

inline constexpr std::size_t burst = 64;
inline constexpr unsigned max_workers = 16;
static_assert(max_workers * (to_worker_capacity + burst) + to_writer_capacity + 1024 < pool_count);

/// The id under which the worker stage leaves its redo note in a packet.
inline constexpr std::uint8_t forward_stage = 1;

[[nodiscard]] inline std::string to_worker_name(unsigned index)
{
    return "to_worker." + std::to_string(index);
}

/// What a worker has seen. One writer, the worker; a burst is added after it was handed on, so of a
/// worker that was killed the last burst may be missing here. The port's counters miss nothing.
struct worker_counts {
    std::atomic<std::uint64_t> packets;
    std::atomic<std::uint64_t> lowered;      ///< TTL or hop limit lowered by one
    std::atomic<std::uint64_t> redelivered;  ///< taken over from a dead process
    std::atomic<std::uint64_t> redone;       ///< of these: half-done by a dead worker, done again
    std::atomic<std::uint64_t> flows;        ///< different conversations, both directions as one
    std::atomic<std::uint64_t> ipv4;
    std::atomic<std::uint64_t> ipv6;
    std::atomic<std::uint64_t> not_ip;
    std::atomic<std::uint64_t> tcp;
    std::atomic<std::uint64_t> udp;
    std::atomic<std::uint64_t> icmp;  ///< and ICMPv6
    std::atomic<std::uint64_t> vlan;  ///< with at least one tag
};

/// One worker process. `member` is {id:16 << 32 | generation}, 0 while the slot is free.
struct alignas(cohort::cache_line_bytes) worker_slot {
    std::atomic<std::uint64_t> member;
    std::uint32_t index;
    std::int32_t pid;
    cohort::fixed_name<64> name;
    worker_counts counts;
};

inline constexpr std::size_t max_worker_processes = 64;

/// The memzone "pipeline".
struct progress {
    std::uint32_t workers;                   ///< rings to_worker.0 .. workers-1
    std::atomic<std::uint32_t> done;         ///< set by the writer: everything has been written
    std::atomic<std::uint64_t> first_rx_ns;  ///< monotonic clock
    std::atomic<std::uint64_t> last_tx_ns;
    std::array<worker_slot, max_worker_processes> slots;
};
static_assert(cohort::shared_layout<progress>);

}  // namespace pipeline
