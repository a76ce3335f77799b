// rte_mempool, rte_mbuf and rte_ring in the hugepages of a running EAL.

#include "packet_loops.hpp"

#ifdef COHORT_BENCH_DPDK

#include <stdexcept>

#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

namespace cohort::bench {
namespace {

template <typename T>
T* required(T* made, const char* what)
{
    if (!made)
        throw std::runtime_error{std::string{"DPDK has no "} + what};
    return made;
}

class dpdk_side {
public:
    using packet = rte_mbuf;

    static void make()
    {
        required(rte_mempool_create("objects", packet_count, object_bytes, packet_cache, 0, nullptr,
                                    nullptr, nullptr, nullptr, SOCKET_ID_ANY, 0),
                 "pool of objects");
        required(rte_pktmbuf_pool_create("packets", packet_count, packet_cache, 0,
                                         RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY),
                 "pool of packets");
        for (const char* name : {"there", "back"})
            required(rte_ring_create(name, packet_ring_capacity, SOCKET_ID_ANY,
                                     RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ),
                     name);
    }

    bool get(void** objects, std::size_t n)
    {
        return rte_mempool_get_bulk(objects_, objects, static_cast<unsigned>(n)) == 0;
    }
    void put(void* const* objects, std::size_t n)
    {
        rte_mempool_put_bulk(objects_, objects, static_cast<unsigned>(n));
    }
    packet* alloc() { return rte_pktmbuf_alloc(packets_); }
    bool alloc(packet** packets, std::size_t n)
    {
        return rte_pktmbuf_alloc_bulk(packets_, packets, static_cast<unsigned>(n)) == 0;
    }
    static void free(packet* of) { rte_pktmbuf_free(of); }
    static void free(packet** packets, std::size_t n)
    {
        rte_pktmbuf_free_bulk(packets, static_cast<unsigned>(n));
    }
    packet* clone(packet* of) { return rte_pktmbuf_clone(of, packets_); }
    static bool chain(packet* head, packet* tail) { return rte_pktmbuf_chain(head, tail) == 0; }
    static std::uint64_t* data(packet* of) { return rte_pktmbuf_mtod(of, std::uint64_t*); }

    std::size_t hand(void* const* items, std::size_t n) { return enqueue(there_, items, n); }
    std::size_t take(void** items, std::size_t n) { return dequeue(there_, items, n); }
    std::size_t send(void* const* items, std::size_t n) { return enqueue(there_, items, n); }
    std::size_t receive(void** items, std::size_t n) { return dequeue(there_, items, n); }
    std::size_t send_back(void* const* items, std::size_t n) { return enqueue(back_, items, n); }
    std::size_t receive_back(void** items, std::size_t n) { return dequeue(back_, items, n); }

    [[nodiscard]] std::size_t missing() const
    {
        return rte_mempool_in_use_count(objects_) + rte_mempool_in_use_count(packets_);
    }

private:
    static std::size_t enqueue(rte_ring* into, void* const* items, std::size_t n)
    {
        return rte_ring_sp_enqueue_burst(into, items, static_cast<unsigned>(n), nullptr);
    }
    static std::size_t dequeue(rte_ring* from, void** items, std::size_t n)
    {
        return rte_ring_sc_dequeue_burst(from, items, static_cast<unsigned>(n), nullptr);
    }

    rte_mempool* objects_ = required(rte_mempool_lookup("objects"), "pool of objects");
    rte_mempool* packets_ = required(rte_mempool_lookup("packets"), "pool of packets");
    rte_ring* there_ = required(rte_ring_lookup("there"), "ring there");
    rte_ring* back_ = required(rte_ring_lookup("back"), "ring back");
};

}  // namespace

std::vector<packet_kind> dpdk_packets()
{
    return {detail::packet_kind_of<dpdk_side>("dpdk")};
}

}  // namespace cohort::bench

#else

std::vector<cohort::bench::packet_kind> cohort::bench::dpdk_packets()
{
    return {};
}

#endif
