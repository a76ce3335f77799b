#include "cohort/recovery/buffer_recovery.hpp"

#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ring/ring.hpp"

#include <span>

namespace cohort {
namespace {

/// Puts handles into their pool's ring, in batches. The ring has room for all objects, so only a
/// claimant that is stopped can refuse: then false, and the rest keeps its word to be found again.
bool return_to(mempool_layout& pool, std::span<void* const> handles,
               std::atomic<std::uint64_t>& counted)
{
    constexpr std::size_t batch = 256;
    ring<void*> backing{pool.backing()};
    while (!handles.empty()) {
        const auto done = backing.enqueue_burst(handles.first(std::min(batch, handles.size())));
        COHORT_FAULT_POINT("reaper.batch");
        counted.fetch_add(done, std::memory_order_relaxed);  // a count, orders nothing
        handles = handles.subspan(done);
        if (done == 0)
            return false;
    }
    return true;
}

/// Puts one packet into a redelivery ring. The role of a single producer is only borrowed.
bool enqueue_for(ring_layout& target, void* packet)
{
    const bool done = ring<void*>{target}.enqueue(packet);
    if (target.producer_mode == ring_mode::single)
        scrub(target.producer, membership_of(&target).lane());
    return done;
}

/// One holder's buffers, sorted by what becomes of them.
class collector {
public:
    collector(memory& segments, recovery_layout& recovery, std::uint64_t holder)
        : memory_{segments}
        , recovery_{recovery}
        , views_{segments.layout()}
        , holder_{holder}
    {
    }

    /// Marks what is in rings, then lists what is lost.
    bool find_lost();
    /// Packets into their redelivery rings. Those that find no room are tagged `waiting`.
    std::size_t redeliver(obituary_layout& obituary);
    /// The rest into their pools. False when not all could be put back.
    bool release(obituary_layout& obituary);

    [[nodiscard]] std::size_t received() const noexcept { return received_; }

private:
    struct lost_packet {
        pool_view* view;
        void* handle;
        std::uint64_t word;
    };
    [[nodiscard]] ring_layout* redelivery_ring(const lost_packet& packet) const;
    void take_apart(mbuf* from);
    void mend_chain(const lost_packet& packet);

    memory& memory_;
    recovery_layout& recovery_;
    object_views views_;
    std::uint64_t holder_;
    std::vector<lost_packet> to_deliver_;
    std::vector<lost_packet> to_release_;
    std::size_t received_ = 0;
};

bool collector::find_lost()
{
    const auto is_ours = [&](std::uint64_t word) {
        return custody::holder_of(word) == holder_ && !custody::is_follower(word);
    };
    std::vector<lost_packet> candidates;
    for (auto& view : views_.pools())
        for (std::uint32_t i = 0; i != view.pool->count; ++i)
            if (const auto word = custody_of(*view.pool, i); is_ours(word))
                candidates.push_back({&view, view.pool->handle(i), word});
    if (candidates.empty())
        return false;

    views_.for_each_custody_ring([&](const memzone_layout&, const ring_layout& ring) {
        for_each_handle(ring, [&](std::uint64_t handle) {
            if (const auto place = views_.find(handle); place.view)
                place.view->marked[place.index] = true;
        });
    });

    for (const auto& packet : candidates) {
        const auto index =
            packet.view->pool->index_of(reinterpret_cast<std::uint64_t>(packet.handle));
        // Read again after the scan: whoever took it from a ring meanwhile has written its own
        // word.
        if (packet.view->marked[index] || custody_of(*packet.view->pool, index) != packet.word)
            continue;
        const bool received = custody::is_received(packet.word);
        received_ += received;
        if (received && packet.view->pool->policy != recovery_policy::release)
            to_deliver_.push_back(packet);
        else
            to_release_.push_back(packet);
        packet.view->marked[index] = true;  // from here on: listed
    }
    return true;
}

ring_layout* collector::redelivery_ring(const lost_packet& packet) const
{
    const memzone_layout* zone = nullptr;
    if (packet.view->pool->policy == recovery_policy::redeliver)
        zone = memory_.find(zone_kind::ring, packet.view->pool->redeliver_to.view());
    else if (custody::ring_of(packet.word) < memory_.layout().zone_count)
        zone = &memory_.layout().zones[custody::ring_of(packet.word)];
    if (!zone || !zone->is_live() || zone->kind != zone_kind::ring)
        return nullptr;
    auto* target = static_cast<ring_layout*>(zone->data());
    return target->custody_offset == packet.view->pool->custody_offset ? target : nullptr;
}

std::size_t collector::redeliver(obituary_layout& obituary)
{
    std::size_t waiting = 0;
    for (const auto& packet : to_deliver_) {
        auto* target = redelivery_ring(packet);
        if (packet.view->pool->kind == pool_kind::pktmbuf)
            mend_chain(packet);
        if (target && enqueue_for(*target, packet.handle)) {
            COHORT_FAULT_POINT("reaper.redelivered");
            obituary.redelivered.fetch_add(1, std::memory_order_relaxed);  // a count
            continue;
        }
        // Owned by the pool until there is room; the slot of the dead member becomes free. The
        // flag first: killed in between, the next look finds nothing waiting and clears it.
        recovery_.some_wait.store(1, std::memory_order_release);
        const auto word = custody::received_from(custody::holder(custody::waiting, 0),
                                                 custody::ring_of(packet.word));
        custody::word_at(packet.handle, packet.view->pool->custody_offset)
            .store(word, std::memory_order_release);
        ++waiting;
    }
    return waiting;
}

/// Gives each segment from here on the holder's own word, so that it is found by itself from now
/// on.
void collector::take_apart(mbuf* segment)
{
    for (; segment; segment = segment->next) {
        const auto place = views_.find(reinterpret_cast<std::uint64_t>(segment));
        if (!place.view)
            return;
        custody::word_at(segment, mbuf_custody_offset).store(holder_, std::memory_order_release);
        if (place.view->marked[place.index])
            continue;  // listed already
        place.view->marked[place.index] = true;
        to_release_.push_back({place.view, segment, holder_});
    }
}

/// A packet that is redelivered may have been caught while something was linked to it: what its
/// segment count does not include is cut off and released, and its length is added up anew.
void collector::mend_chain(const lost_packet& packet)
{
    auto& head = *static_cast<mbuf*>(packet.handle);
    auto* segment = &head;
    std::uint32_t length = segment->data_len;
    for (std::uint32_t left = head.nb_segs; left > 1 && segment->next; --left) {
        segment = segment->next;
        length += segment->data_len;
    }
    take_apart(segment->next);
    segment->next = nullptr;
    head.pkt_len = length;
}

bool collector::release(obituary_layout& obituary)
{
    const auto heads = to_release_.size();
    for (std::size_t i = 0; i != heads; ++i) {
        const auto packet = to_release_[i];  // a copy: the list grows
        if (packet.view->pool->kind == pool_kind::pktmbuf)
            take_apart(static_cast<mbuf*>(packet.handle)->next);
    }
    COHORT_FAULT_POINT("reaper.taken_apart");
    for (const auto& packet : to_release_) {
        if (packet.view->pool->kind != pool_kind::pktmbuf)
            continue;
        auto& segment = *static_cast<mbuf*>(packet.handle);
        segment.next = nullptr;
        segment.nb_segs = 1;
        segment.refcnt = 1;
    }
    bool complete = true;
    for (auto& view : views_.pools()) {
        std::vector<void*> handles;
        for (const auto& packet : to_release_)
            if (packet.view == &view)
                handles.push_back(packet.handle);
        complete = return_to(*view.pool, handles, obituary.released) && complete;
    }
    return complete;
}

}  // namespace

recovered recover_buffers(memory& segments, recovery_layout& recovery, std::uint64_t holder,
                          obituary_layout& obituary)
{
    collector lost{segments, recovery, holder};
    if (!lost.find_lost())
        return {};
    obituary.received.fetch_add(lost.received(), std::memory_order_relaxed);  // a count
    const auto waiting = lost.redeliver(obituary);
    return {.waiting = waiting, .complete = lost.release(obituary)};
}

}  // namespace cohort
