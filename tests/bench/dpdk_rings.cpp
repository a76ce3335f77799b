// rte_ring in each of its modes. It needs no EAL when its memory is given, so it lies in the same
// pages as ours.

#include "ring_loops.hpp"

#ifdef COHORT_BENCH_DPDK

#include <algorithm>
#include <array>
#include <cstddef>
#include <stdexcept>

#include <rte_ring.h>

namespace cohort::bench {
namespace {

template <unsigned flags>
class dpdk_ring {
public:
    explicit dpdk_ring(void* at) : ring_{static_cast<rte_ring*>(at)} {}

    static void make(void* at)
    {
        if (rte_ring_init(static_cast<rte_ring*>(at), "bench", ring_capacity,
                          flags | RING_F_EXACT_SZ) != 0)
            throw std::runtime_error{"rte_ring_init refuses"};
    }

    std::size_t enqueue(void* const* items, std::size_t count)
    {
        const auto n = static_cast<unsigned>(count);
        if constexpr (flags == (RING_F_SP_ENQ | RING_F_SC_DEQ))
            return rte_ring_sp_enqueue_burst(ring_, items, n, nullptr);
        else if constexpr ((flags & ~RING_F_SC_DEQ) == 0)
            return rte_ring_mp_enqueue_burst(ring_, items, n, nullptr);
        else if constexpr ((flags & RING_F_MP_HTS_ENQ) != 0)
            return rte_ring_mp_hts_enqueue_burst(ring_, items, n, nullptr);
        else
            return rte_ring_mp_rts_enqueue_burst(ring_, items, n, nullptr);
    }
    std::size_t dequeue(void** items, std::size_t count)
    {
        const auto n = static_cast<unsigned>(count);
        if constexpr ((flags & RING_F_SC_DEQ) != 0)
            return rte_ring_sc_dequeue_burst(ring_, items, n, nullptr);
        else if constexpr (flags == 0)
            return rte_ring_mc_dequeue_burst(ring_, items, n, nullptr);
        else if constexpr (flags == (RING_F_MP_HTS_ENQ | RING_F_MC_HTS_DEQ))
            return rte_ring_mc_hts_dequeue_burst(ring_, items, n, nullptr);
        else
            return rte_ring_mc_rts_dequeue_burst(ring_, items, n, nullptr);
    }

private:
    rte_ring* ring_;
};

/// Two rings: what comes out of the first is put into the second.
class dpdk_two_rings {
public:
    explicit dpdk_two_rings(void* at) : before_{at}, behind_{second_of(at)} {}

    static void make(void* at)
    {
        dpdk_ring<0>::make(at);
        dpdk_ring<0>::make(second_of(at));
    }
    std::size_t enqueue(void* const* items, std::size_t count)
    {
        return before_.enqueue(items, count);
    }
    std::size_t dequeue(void** items, std::size_t count)
    {
        std::array<void*, 128> moved;  // the longest burst that is measured
        const auto ready = before_.dequeue(moved.data(), std::min(count, moved.size()));
        static_cast<void>(behind_.enqueue(moved.data(), ready));
        return behind_.dequeue(items, count);
    }

private:
    static void* second_of(void* at) { return static_cast<std::byte*>(at) + ring_room / 2; }

    dpdk_ring<0> before_;
    dpdk_ring<0> behind_;
};

}  // namespace

std::vector<ring_kind> dpdk_rings()
{
    using namespace detail;
    return {kind_of<dpdk_ring<RING_F_SP_ENQ | RING_F_SC_DEQ>>("dpdk", "SP/SC"),
            kind_of<dpdk_ring<0>>("dpdk", "MP/MC"),
            kind_of<dpdk_ring<RING_F_MP_HTS_ENQ | RING_F_MC_HTS_DEQ>>("dpdk_hts", "MP/MC"),
            kind_of<dpdk_ring<RING_F_MP_RTS_ENQ | RING_F_MC_RTS_DEQ>>("dpdk_rts", "MP/MC"),
            kind_of<dpdk_ring<RING_F_SC_DEQ>>("dpdk", "fan-in"),
            kind_of<dpdk_ring<RING_F_MP_HTS_ENQ | RING_F_SC_DEQ>>("dpdk_hts", "fan-in"),
            kind_of<dpdk_ring<RING_F_MP_RTS_ENQ | RING_F_SC_DEQ>>("dpdk_rts", "fan-in"),
            kind_of<dpdk_two_rings>("dpdk", "one stage")};
}

}  // namespace cohort::bench

#else

std::vector<cohort::bench::ring_kind> cohort::bench::dpdk_rings()
{
    return {};
}

#endif
