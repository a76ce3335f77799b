#pragma once
/// A port as it lies in the region: configuration, queues, counters, and the driver's shared state.
///
///   port_layout | rx[max_port_queues] | tx[max_port_queues]
///
///   queue  bytes   0..63    owner, counters
///          64..127          position, the driver's own words
///          128..191         set-up, and the counters as they stood at the last reset
///          192..767         journal of the burst under way
///
/// What is captured lies beside it: capture_layout.hpp.
///
/// The phase of a port is one word, { generation:32 | silent queues:16 | closer lane:8 | state:8 }:
///
///   STOPPED -> STARTED -> STOPPED   any lane; silent is what was set up as deferred, then nothing
///   STARTED -> STARTED              any lane: a queue becomes silent, or is heard again
///   STOPPED or STARTED -> CLOSING   the lane that closes it, which then takes every queue
///   CLOSING -> STOPPED              the closer when a queue is not let go, or its reaper
///
/// The generation is raised by all but the change of one queue, and by the set-up of a queue: then
/// owners open anew. Otherwise they go on, those of a silent queue excepted.
///
/// Functions and descriptors are not here: each process finds the driver by its name.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/fixed_name.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/member/reference_layout.hpp"
#include "cohort/sync/owner_lock.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cohort {

inline constexpr std::size_t max_port_queues = 8;
inline constexpr std::size_t max_port_burst = 64;  ///< packets a driver moves in one burst at most

/// What a burst is about to commit, written before it is. See burst_journal.hpp for who reads it.
struct alignas(cache_line_bytes) burst_journal_layout {
    std::atomic<std::uint32_t> armed{0};    ///< packets listed; 0 = nothing under way
    std::atomic<std::uint32_t> lane{0};     ///< whose burst it is
    std::atomic<std::uint64_t> holder{0};   ///< custody word of that lane's member
    std::atomic<std::uint64_t> target{0};   ///< the queue's position once the burst is committed
    std::atomic<std::uint64_t> packets{0};  ///< the queue's counters then
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> device{0};  ///< custody word of what the device has; 0 = it copies
    alignas(cache_line_bytes) std::atomic<std::uint64_t> handles[max_port_burst];
};
static_assert(shared_layout<burst_journal_layout> && sizeof(burst_journal_layout) == 576);

/// One rx or tx queue. One lane at a time owns it; the others' bursts return 0. The counters have
/// one writer, the owner; a successor carries on from where they stand.
struct alignas(cache_line_bytes) port_queue_layout {
    owner_lock owner;
    std::atomic<std::uint64_t> packets{0};
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> errors{0};     ///< malformed, refused, or not to be made ready
    std::atomic<std::uint64_t> no_buffer{0};  ///< rx: bursts cut short because the pool was empty
    std::atomic<std::uint64_t> missed{0};     ///< rx: dropped for want of room; any lane adds to it
    std::atomic<std::uint32_t> ended{0};      ///< rx: the source has no more packets
    std::atomic<std::int32_t> last_errno{0};  ///< why the device refused the last time
    std::uint64_t reserved_{};
    /// How far a file has been read or written. The store of it commits a burst.
    alignas(cache_line_bytes) std::atomic<std::uint64_t> position{0};
    std::atomic<std::uint64_t> aux[7];  ///< the driver's own words
    std::uint32_t pool = 0;  ///< rx: 1 + index of the pool's entry in the zone table; 0 = no pool
    std::uint32_t descriptors = 0;    ///< as set up
    std::uint32_t drop_on_empty = 0;  ///< rx: 1 = what finds no buffer is dropped, and missed
    std::atomic<std::uint32_t> deferred{0};  ///< 1 = silent when the port starts
    std::atomic<std::uint64_t> base[5]{};  ///< packets, bytes, missed, errors, no_buffer at a reset
    std::uint64_t reserved3_{};
    burst_journal_layout journal;
};
static_assert(shared_layout<port_queue_layout> && sizeof(port_queue_layout) == 768);
static_assert(offsetof(port_queue_layout, position) == 64 &&
              offsetof(port_queue_layout, journal) == 192);

enum class port_direction { rx, tx };

enum class port_state : std::uint8_t { stopped = 0, started = 1, closing = 2 };

/// The phase word of a port, unpacked.
struct port_phase {
    std::uint32_t generation = 0;
    std::uint16_t silent = 0;  ///< a bit for each queue, see port_layout::bit_of
    lane_id closer = 0;
    port_state state = port_state::stopped;

    [[nodiscard]] static constexpr port_phase unpack(std::uint64_t word) noexcept
    {
        return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint16_t>(word >> 16),
                static_cast<lane_id>(word >> 8 & 0xff), static_cast<port_state>(word & 0xff)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        return std::uint64_t{generation} << 32 | std::uint64_t{silent} << 16 |
               std::uint64_t{closer} << 8 | std::uint64_t{static_cast<std::uint8_t>(state)};
    }
};

/// What the driver accepts at the set-up of a queue.
struct port_limits {
    std::uint32_t min_descriptors = 1;
    std::uint32_t max_descriptors = 65'535;
    std::uint32_t align_descriptors = 1;
    std::uint32_t default_descriptors = 512;
    std::uint32_t min_rx_buffer = 0;  ///< bytes that a buffer must hold behind its headroom
};
static_assert(sizeof(port_limits) == 20);

struct alignas(cache_line_bytes) port_layout {
    static constexpr std::uint32_t magic_value = 0x54504f43;  // "COPT"

    std::uint32_t magic = 0;
    std::uint16_t index = 0;  ///< of its entry in the zone table; mbuf::port carries it
    std::uint16_t rx_queues = 0;
    std::uint16_t tx_queues = 0;
    std::uint8_t mac[6]{};  ///< of the device; zero where there is none
    std::atomic<std::uint64_t> phase{0};
    std::uint32_t mtu = 0;          ///< of the device that is sent at, at creation; 0 = none
    std::uint32_t device_pool = 0;  ///< 1 + index of the pool whose memory the device has; 0 = none
    port_limits limits;
    /// 1 + index of the entry that has the streams, while packets are captured; 0 = they are not.
    /// Beside the phase, which each burst reads; so are the offloads.
    std::atomic<std::uint32_t> capture{0};
    std::atomic<std::uint32_t> offloads{0};      ///< see port_offload.hpp
    std::atomic<std::uint32_t> device_keeps{0};  ///< 1 = what was posted may be written to still
    fixed_name<16> driver;
    fixed_name<2048> options;  ///< "rx=/tmp/a.pcap,tx=/tmp/b.pcap", as the driver completed them
    std::uint64_t driver_words[8]{};  ///< what the driver fixed at creation, e.g. the link type
    owner_lock capturer;              ///< the lane that captures, or that closes the port
    std::atomic<std::uint32_t> receives{0};  ///< values of `reception`, for port_link only
    std::uint32_t primes = 0;  ///< 1 = packets come only when each rx queue has been claimed once
    port_queue_layout rx[max_port_queues];
    port_queue_layout tx[max_port_queues];

    /// Of a queue, in port_phase::silent.
    [[nodiscard]] std::uint16_t bit_of(const port_queue_layout& queue) const noexcept
    {
        const bool is_rx = &queue < tx;
        const auto number = static_cast<std::size_t>(&queue - (is_rx ? rx : tx));
        return static_cast<std::uint16_t>(1u << (number + (is_rx ? 0 : max_port_queues)));
    }
    /// What is silent when the port starts.
    [[nodiscard]] std::uint16_t deferred() const noexcept
    {
        unsigned bits = 0;
        for (const auto* queues : {rx, tx})
            for (std::size_t i = 0; i != max_port_queues; ++i)
                bits |= queues[i].deferred.load(std::memory_order_relaxed) != 0  // over the phase
                            ? bit_of(queues[i])
                            : 0u;
        return static_cast<std::uint16_t>(bits);
    }

    /// Its words are none that a port in this memory had before: `moment` is a time in nanoseconds.
    /// So a late CAS meant for that one fails.
    void begin_at(std::uint64_t moment) noexcept
    {
        const auto generation = static_cast<std::uint32_t>(moment >> 8);
        phase.store(port_phase{.generation = generation}.pack(),
                    std::memory_order_relaxed);  // not published yet
        capturer.begin_at(moment);
        for (std::size_t i = 0; i != max_port_queues; ++i) {
            rx[i].owner.begin_at(moment);
            tx[i].owner.begin_at(moment);
        }
    }
};
static_assert(max_lanes <= 0x100 && 2 * max_port_queues <= 16);
static_assert(shared_layout<port_layout> && offsetof(port_layout, phase) / cache_line_bytes ==
                                                offsetof(port_layout, offloads) / cache_line_bytes);

}  // namespace cohort
