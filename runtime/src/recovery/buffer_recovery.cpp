#include "cohort/recovery/buffer_recovery.hpp"

#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/mbuf_external.hpp"
#include "cohort/ring/ring.hpp"
#include "cohort/ring/ring_zone.hpp"
#include "cohort/ring/staged_ring.hpp"

#include <array>
#include <span>

namespace cohort {
namespace {

/// Puts handles into their pool's ring. The ring has room for all objects, so only a claimant that
/// is stopped can refuse: then false, and the rest keeps its word to be found again.
bool return_to(mempool_layout& pool, std::span<void* const> handles,
               std::atomic<std::uint64_t>& counted)
{
    pool_store backing{pool.backing()};
    while (!handles.empty()) {
        const auto done = backing.put_burst(handles);
        COHORT_FAULT_POINT("reaper.batch");
        counted.fetch_add(done, std::memory_order_relaxed);  // a count, orders nothing
        handles = handles.subspan(done);
        if (done == 0)
            return false;
    }
    return true;
}

/// Objects lie on lines, and often on pages, of their own: those that come soon are fetched while
/// others are looked at.
constexpr std::uint32_t ahead = 16;

void fetch(const pool_view& view, std::uint32_t index) noexcept
{
    if (index >= view.count)
        return;
    const auto* handle = static_cast<const std::byte*>(view.pool->handle(index));
    __builtin_prefetch(handle + view.pool->custody_offset);
    if (view.pool->kind == pool_kind::pktmbuf)
        __builtin_prefetch(handle + cache_line_bytes);
}

/// Puts one packet into a redelivery ring, or on a stack. The role of a single producer is only
/// borrowed.
bool enqueue_for(ring_layout& target, void* packet)
{
    const bool done = target.published == publication::in_stages
                          ? staged_ring<void*>{target}.enqueue(packet)
                          : pool_store{target}.put_bulk({&packet, 1}) == 1;
    if (target.producer_mode == ring_mode::single) {
        const auto me = membership_of(&target).lane();
        scrub(target, target.producer, me, me);
    }
    return done;
}

/// Else it goes to its pool: by policy, or because the ring that it came from is no more.
bool is_redelivered(const mempool_layout& pool, std::uint64_t word) noexcept
{
    return pool.policy == recovery_policy::redeliver ||
           (pool.policy == recovery_policy::give_back && custody::ring_of(word) != no_ring_index);
}

/// One holder's buffers, sorted by what becomes of them.
class collector {
public:
    collector(memory& segments, const member_table_layout& members, recovery_layout& recovery,
              std::uint64_t holder)
        : memory_{segments}
        , members_{members}
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
        pool_view* view = nullptr;
        std::uint64_t word = 0;
        std::uint32_t index = 0;

        [[nodiscard]] void* handle() const noexcept { return view->pool->handle(index); }
    };
    static void fetch_ahead(const std::vector<lost_packet>& list, std::size_t i) noexcept
    {
        if (i + ahead < list.size())
            fetch(*list[i + ahead].view, list[i + ahead].index);
    }
    [[nodiscard]] bool put_back(pool_view& view, std::atomic<std::uint64_t>& counted) const;
    [[nodiscard]] ring_layout* redelivery_ring(const lost_packet& packet) const;
    void take_apart(mbuf* from);
    void mend_chain(const lost_packet& packet);
    [[nodiscard]] bool is_held(const lost_packet& packet) const;
    [[nodiscard]] bool end_sharing(mbuf& segment);

    memory& memory_;
    const member_table_layout& members_;
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
        return !custody::is_follower(word) &&
               (custody::holder_of(word) == holder_ ||
                (custody::names_member(word) && !holder_lives(members_, word)));
    };
    auto& candidates = to_release_;
    for (auto& view : views_.pools())
        for (std::uint32_t i = 0; i != view.count; ++i) {
            fetch(view, i + ahead);
            if (const auto word = custody_of(*view.pool, i); is_ours(word))
                candidates.push_back({&view, word, i});
        }
    if (candidates.empty())
        return false;

    views_.for_each_custody_ring([&](const memzone_layout&, const ring_layout& ring) {
        for_each_handle(ring, [&](std::uint64_t handle) {
            if (const auto place = views_.find(handle); place.view)
                place.view->marked[place.index] = true;
        });
    });

    std::size_t kept = 0;
    for (std::size_t i = 0; i != candidates.size(); ++i) {
        fetch_ahead(candidates, i);
        const auto packet = candidates[i];
        std::vector<bool>::reference marked = packet.view->marked[packet.index];
        // Read again after the scan: whoever took it from a ring meanwhile has written its own
        // word.
        if (marked || !is_held(packet) ||
            custody_of(*packet.view->pool, packet.index) != packet.word)
            continue;
        const bool received = custody::is_received(packet.word);
        received_ += received;
        if (received && is_redelivered(*packet.view->pool, packet.word))
            to_deliver_.push_back(packet);
        else
            candidates[kept++] = packet;
        marked = true;  // from here on: listed
    }
    candidates.resize(kept);
    return true;
}

/// Not so when clones keep the buffer and its handle is gone. The caller looks at the custody word
/// after this: who takes such a buffer writes that before it sets the handle (I6).
bool collector::is_held(const lost_packet& packet) const
{
    if (packet.view->pool->kind != pool_kind::pktmbuf)
        return true;
    const auto& segment = *static_cast<const mbuf*>(packet.handle());
    return !segment.is_direct() || reference_word{segment.share_word()}.has_handle();
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
    auto* target = ring_in(*zone);
    return target && target->custody_offset == packet.view->pool->custody_offset ? target : nullptr;
}

std::size_t collector::redeliver(obituary_layout& obituary)
{
    std::size_t waiting = 0;
    for (const auto& packet : to_deliver_) {
        auto* target = redelivery_ring(packet);
        if (packet.view->pool->kind == pool_kind::pktmbuf)
            mend_chain(packet);
        if (target && enqueue_for(*target, packet.handle())) {
            COHORT_FAULT_POINT("reaper.redelivered");
            obituary.redelivered.fetch_add(1, std::memory_order_relaxed);  // a count
            continue;
        }
        // Owned by the pool until there is room; the slot of the dead member becomes free. The
        // flag first: killed in between, the next look finds nothing waiting and clears it.
        recovery_.some_wait.fetch_add(1, std::memory_order_acq_rel);
        const auto word = custody::received_from(custody::holder(custody::waiting, 0),
                                                 custody::ring_of(packet.word));
        custody::word_at(packet.handle(), packet.view->pool->custody_offset)
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
        to_release_.push_back({place.view, holder_, place.index});
    }
}

/// A segment that was caught while it was attached or detached, and shows its own buffer: empty.
void mend_buffer(mbuf& segment) noexcept
{
    const auto* own = reinterpret_cast<std::byte*>(&segment + 1) + segment.pool->private_bytes;
    if (segment.is_direct() && !segment.pool->pinned && segment.buf_addr != own)
        detail::restore_buffer(segment);
}

/// A packet that is redelivered may have been caught while something was linked to it: what its
/// segment count does not include is cut off and released, and its length is added up anew.
void collector::mend_chain(const lost_packet& packet)
{
    auto& head = *static_cast<mbuf*>(packet.handle());
    if (head.nb_segs > 1 && head.next && !custody::is_follower(head.next->custody)) {
        head.data_len = static_cast<std::uint16_t>(head.pkt_len);  // see `linearize`
        head.nb_segs = 1;
    }
    auto* segment = &head;
    mend_buffer(head);
    std::uint32_t length = segment->data_len;
    for (std::uint32_t left = head.nb_segs; left > 1 && segment->next; --left) {
        segment = segment->next;
        mend_buffer(*segment);
        length += segment->data_len;
    }
    take_apart(segment->next);
    segment->next = nullptr;
    head.pkt_len = length;
}

/// What the holder would have done when it frees this segment. False when the segment is not to be
/// put back: clones of others keep it, or its memory waits for a member that can free it.
bool collector::end_sharing(mbuf& segment)
{
    auto& self = membership_of(&segment);
    if (segment.is_clone()) {
        // Taken from nobody: if it was listed before, its handle has been let go since.
        if (auto* direct = detail::detach_clone(self, segment, holder_))
            if (const auto place = views_.find(reinterpret_cast<std::uint64_t>(direct)); place.view)
                to_release_.push_back({place.view, holder_, place.index});
    } else if (!segment.is_direct() && !detail::detach_external(self, segment, holder_)) {
        return false;
    }
    COHORT_FAULT_POINT("reaper.detached");
    if (detail::let_go(self, segment, holder_) == detail::handle_state::gone)
        return false;
    detail::restore_buffer(segment);
    return true;
}

bool collector::release(obituary_layout& obituary)
{
    const auto heads = to_release_.size();
    for (std::size_t i = 0; i != heads; ++i) {
        fetch_ahead(to_release_, i);
        const auto packet = to_release_[i];  // a copy: the list grows
        if (packet.view->pool->kind == pool_kind::pktmbuf)
            take_apart(static_cast<mbuf*>(packet.handle())->next);
    }
    COHORT_FAULT_POINT("reaper.taken_apart");
    std::size_t ready = 0;
    for (std::size_t i = 0; i != to_release_.size(); ++i) {
        fetch_ahead(to_release_, i);
        const auto packet = to_release_[i];  // a copy: the list grows by what clones showed
        if (packet.view->pool->kind != pool_kind::pktmbuf ||
            end_sharing(*static_cast<mbuf*>(packet.handle())))
            to_release_[ready++] = packet;
    }
    to_release_.resize(ready);
    bool complete = true;
    for (auto& view : views_.pools())
        complete = put_back(view, obituary.released) && complete;
    return complete;
}

/// What is listed of that pool, in batches. False when not all could be put back.
bool collector::put_back(pool_view& view, std::atomic<std::uint64_t>& counted) const
{
    std::array<void*, 256> batch;
    std::size_t count = 0;
    for (const auto& packet : to_release_) {
        if (packet.view != &view)
            continue;
        batch[count++] = packet.handle();
        if (count == batch.size() && !return_to(*view.pool, batch, counted))
            return false;
        count %= batch.size();
    }
    return return_to(*view.pool, std::span{batch}.first(count), counted);
}

}  // namespace

recovered recover_buffers(memory& segments, const member_table_layout& members,
                          recovery_layout& recovery, std::uint64_t holder,
                          obituary_layout& obituary)
{
    collector lost{segments, members, recovery, holder};
    if (!lost.find_lost())
        return {};
    obituary.received.fetch_add(lost.received(), std::memory_order_relaxed);  // a count
    const auto waiting = lost.redeliver(obituary);
    return {.waiting = waiting, .complete = lost.release(obituary)};
}

void forget_dying_rings(const memory_layout& memory, member_id destroyer) noexcept
{
    const auto forget = [&](mempool_layout& pool, std::uint16_t ring) {
        for (std::uint32_t i = 0, count = pool.count(); i != count; ++i) {
            auto word = custody_of(pool, i);
            if (!custody::is_received(word) || custody::ring_of(word) != ring)
                continue;
            const auto from_nowhere = word | std::uint64_t{no_ring_index} << 48;
            // A holder that writes its word at this moment writes one that names no such ring.
            custody::word_at(pool.handle(i), pool.custody_offset)
                .compare_exchange_strong(word, from_nowhere, std::memory_order_acq_rel);
        }
    };
    for_each_used(memory, [&](const memzone_layout& ring) {
        const auto word = ring.word();
        if (ring.kind != zone_kind::ring || word.state != zone_state::dying ||
            word.member != destroyer)
            return;
        const auto index = static_cast<std::uint16_t>(&ring - memory.zones);
        for_each_live(memory, zone_kind::mempool, [&](const memzone_layout& zone) {
            if (auto& pool = *static_cast<mempool_layout*>(zone.data());
                pool.policy == recovery_policy::give_back)
                forget(pool, index);
        });
    });
}

}  // namespace cohort
