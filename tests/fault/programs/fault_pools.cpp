// A pool that is made empty, grows in three steps, and goes; also what a predecessor has left of
// one.

#include "fault_member.hpp"
#include "support/conversation.hpp"
#include "support/eventually.hpp"

#include <set>
#include <vector>

namespace cohort::fault_member {
namespace {

/// Each object that the pool has is there once. The reaper may be at work on the pool beside us.
void use_all(pktmbuf_pool& pool)
{
    const auto count = pool.objects().count();
    std::vector<mbuf*> packets(count);
    require(test::eventually([&] {
                return pool.objects().get_bulk({reinterpret_cast<void**>(packets.data()), count});
            }),
            "objects of the pool are missing");
    require(std::set<mbuf*>(packets.begin(), packets.end()).size() == count,
            "an object is in the pool twice");
    require(find_fault(pool.objects().layout()) == nullptr, "the pool is not sound");
    for (auto* packet : packets) {
        require(find_fault(*packet, true) == nullptr, "a packet is not sound");
        free(packet);
    }
    pool.objects().flush();
}

void end(domain& shared)
{
    require(shared.destroy_mempool("grown"), "the pool is gone");
    if (!shared.find_memzone("brought").empty())
        require(shared.release_memzone("brought"), "the memory is gone");
}

void finish_what_is_left(domain& shared)
{
    if (auto pool = shared.find_pktmbuf_pool("grown")) {
        use_all(*pool);
        if (pool->objects().count() != pool->objects().capacity())
            shared.populate(pool->objects());
        use_all(*pool);
        end(shared);
    }
    if (!shared.find_memzone("brought").empty())
        shared.release_memzone("brought");
}

}  // namespace

void grow_pools(const arguments& given)
{
    const auto shared = join(given);
    finish_what_is_left(*shared);
    if (given[1] == "grow") {
        test::say("ready");
        static_cast<void>(test::hear());
    }
    auto pool = shared->create_empty_pktmbuf_pool("grown", {.count = 300, .cache_size = 8});
    shared->populate(pool.objects(), {.count = 150});
    use_all(pool);
    const auto memory = shared->reserve_memzone("brought", 128_KiB);
    shared->populate(pool.objects(), memory.bytes());
    use_all(pool);
    shared->populate(pool.objects());
    use_all(pool);
    require(pool.objects().count() == 300, "the pool has not grown");
    end(*shared);
}

}  // namespace cohort::fault_member
