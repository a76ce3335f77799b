#include "cohort/recovery/buffer_recovery.hpp"

#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ring/ring.hpp"

#include <span>

namespace cohort {
namespace {

/// Puts handles into a ring that has room for all of them, in batches. A pool's ring always has.
void return_to(mempool_layout& pool, std::span<void* const> handles,
               std::atomic<std::uint64_t>& counted)
{
    constexpr std::size_t batch = 256;
    ring<void*> backing{pool.backing()};
    while (!handles.empty()) {
        const auto done = backing.enqueue_burst(handles.first(std::min(batch, handles.size())));
        counted.fetch_add(done, std::memory_order_relaxed);  // a count, orders nothing
        handles = handles.subspan(done);
        COHORT_FAULT_POINT("reaper.batch");
    }
}

/// One holder's buffers, sorted by what becomes of them.
class collector {
public:
    collector(memory& segments, std::uint64_t holder)
        : memory_{segments}
        , views_{segments.layout()}
        , holder_{holder}
    {
    }

    /// Marks what is in rings, then lists what is lost.
    bool find_lost();
    /// Packets into their redelivery rings. Those that find no room are tagged `waiting`.
    std::size_t redeliver(obituary_layout& obituary);
    /// The rest into their pools.
    void release(obituary_layout& obituary);

    [[nodiscard]] std::size_t received() const noexcept { return received_; }

private:
    struct lost_packet {
        pool_view* view;
        void* handle;
        std::uint64_t word;
    };
    [[nodiscard]] ring_layout* redelivery_ring(const lost_packet& packet) const;
    void take_apart(const lost_packet& packet);

    memory& memory_;
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
    }
    return true;
}

ring_layout* collector::redelivery_ring(const lost_packet& packet) const
{
    const memzone_layout* zone = nullptr;
    if (packet.view->pool->policy == recovery_policy::redeliver)
        zone = memory_.find(zone_kind::ring, packet.view->pool->redeliver_to.view());
    else if (custody::ring_of(packet.word) < max_zones)
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
        if (target && ring<void*>{*target}.enqueue(packet.handle)) {
            obituary.redelivered.fetch_add(1, std::memory_order_relaxed);  // a count
            COHORT_FAULT_POINT("reaper.redelivered");
            continue;
        }
        // Owned by the pool until there is room; the slot of the dead member becomes free.
        const auto word = custody::received_from(custody::holder(custody::waiting, 0),
                                                 custody::ring_of(packet.word));
        custody::word_at(packet.handle, packet.view->pool->custody_offset)
            .store(word, std::memory_order_release);
        ++waiting;
    }
    return waiting;
}

/// Gives every segment of a chain the holder's own word, so that each is found by itself from now
/// on.
void collector::take_apart(const lost_packet& packet)
{
    auto* segment = static_cast<mbuf*>(packet.handle);
    while ((segment = segment->next) != nullptr) {
        const auto place = views_.find(reinterpret_cast<std::uint64_t>(segment));
        if (!place.view || place.view->marked[place.index])
            return;
        place.view->marked[place.index] = true;
        custody::word_at(segment, mbuf_custody_offset).store(holder_, std::memory_order_release);
        to_release_.push_back({place.view, segment, holder_});
    }
}

void collector::release(obituary_layout& obituary)
{
    const auto heads = to_release_.size();
    for (const auto& packet : to_release_)
        packet.view
            ->marked[packet.view->pool->index_of(reinterpret_cast<std::uint64_t>(packet.handle))] =
            true;
    for (std::size_t i = 0; i != heads; ++i) {
        const auto packet = to_release_[i];  // a copy: the list grows
        if (packet.view->pool->kind == pool_kind::pktmbuf)
            take_apart(packet);
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
    for (auto& view : views_.pools()) {
        std::vector<void*> handles;
        for (const auto& packet : to_release_)
            if (packet.view == &view)
                handles.push_back(packet.handle);
        return_to(*view.pool, handles, obituary.released);
    }
}

}  // namespace

std::size_t recover_buffers(memory& segments, std::uint64_t holder, obituary_layout& obituary)
{
    collector lost{segments, holder};
    if (!lost.find_lost())
        return 0;
    obituary.received.fetch_add(lost.received(), std::memory_order_relaxed);  // a count
    const auto waiting = lost.redeliver(obituary);
    lost.release(obituary);
    return waiting;
}

}  // namespace cohort
