#pragma once
/// Fan-in without contention: a ring of one producer for each lane that produces, and one that
/// consumers see.
///
/// Elements of one producer come out in its order; between producers there is none. A producer that
/// is stopped in mid-call keeps nobody waiting: it holds its own ring only.
///
///   ring 0       multi producers: for lanes that find all others taken
///   ring 1 .. n  single producer: the first lane to use it keeps it until it leaves or dies
///
/// All are ordinary rings of the domain, named NAME.0, NAME.1 and so on, so custody, audit, repair
/// and `cohort rings` know them without more. NAME.0 is made last and destroyed first: while it is
/// there, so are the others.
///
/// *Thread safety*: any lane of any member. A handle is moved, not copied, and may be used by all
/// threads of its process.
/// *When a process dies here*: as in ring.hpp. What a dead producer has published stays for the
/// consumers; its ring goes to the next lane that produces, whose elements queue behind.
/// *When not to use*: where producers share one order, or consumers want a bulk or to sleep.
/// As a place of redelivery (recovery policies) only ring 0 serves.

#include "cohort/ring/ring.hpp"

#include <array>
#include <atomic>
#include <memory>
#include <vector>

namespace cohort {

template <typename T>
class lane_ring {
public:
    /// Over rings as above, at most max_lanes of them; see domain/lane_rings.hpp.
    explicit lane_ring(std::vector<ring<T>> rings)
        : rings_{std::move(rings)}
        , self_{&membership_of(&rings_.front().layout())}
        , choices_{std::make_unique<choices>()}
    {
    }

    /// As those of ring<T>, into this lane's ring.
    std::size_t enqueue_burst(std::span<const T> items) noexcept
    {
        return own_ring().enqueue_burst(items);
    }
    std::size_t enqueue_bulk(std::span<const T> items) noexcept
    {
        return own_ring().enqueue_bulk(items);
    }
    bool enqueue(const T& item) noexcept { return own_ring().enqueue(item); }

    /// Takes up to items.size() elements, of one ring after the other, beginning behind the one
    /// that the last call ended with; returns how many.
    std::size_t dequeue_burst(std::span<T> items) noexcept
    {
        const auto count = static_cast<std::uint32_t>(rings_.size());
        auto next = choices_->next.load(std::memory_order_relaxed);  // a hint
        std::size_t taken = 0;
        for (std::uint32_t i = 0; i != count && taken != items.size(); ++i) {
            taken += rings_[next].dequeue_burst(items.subspan(taken));
            next = next + 1 == count ? 0 : next + 1;
        }
        choices_->next.store(next, std::memory_order_relaxed);  // a hint
        return taken;
    }
    bool dequeue(T& item) noexcept { return dequeue_burst({&item, 1}) == 1; }

    /// Snapshots, summed up.
    [[nodiscard]] std::size_t count() const noexcept
    {
        std::size_t sum = 0;
        for (const auto& each : rings_)
            sum += each.count();
        return sum;
    }
    [[nodiscard]] bool empty() const noexcept { return count() == 0; }
    [[nodiscard]] std::span<const ring<T>> rings() const noexcept { return rings_; }

private:
    static_assert(max_lanes <= 256);

    /// Of this process.
    struct choices {
        std::array<std::atomic<std::uint8_t>, max_lanes> of_lane{};  ///< each written by its lane
        alignas(cache_line_bytes) std::atomic<std::uint32_t> next{0};
    };

    [[nodiscard]] ring<T>& own_ring() noexcept
    {
        const auto me = self_->lane();
        const auto chosen = choices_->of_lane[me].load(std::memory_order_relaxed);  // ours alone
        auto& own = rings_[chosen];
        return own.layout().producer.load().lane == me && me != 0 && chosen != 0 ? own : choose(me);
    }

    /// A ring of its own when there is one. Not while the shared one holds elements, for those of
    /// this lane come first.
    [[nodiscard, gnu::noinline]] ring<T>& choose(lane_id me) noexcept
    {
        auto& choice = choices_->of_lane[me];
        std::size_t found = 0;
        if (rings_.front().empty())
            for (std::size_t i = 1; i != rings_.size() && found == 0; ++i)
                if (is_free_for(rings_[i].layout(), me))
                    found = i;
        choice.store(static_cast<std::uint8_t>(found), std::memory_order_relaxed);  // ours alone
        return rings_[found];
    }
    /// And takes its role then: a batch of none has moved nothing else.
    [[nodiscard]] bool is_free_for(ring_layout& ring, lane_id me) const noexcept
    {
        const auto seen = ring.producer.load();
        const bool free = seen.lane == 0 || self_->liveness().is_dead(seen.lane);
        if (seen.lane == me || !free)
            return seen.lane == me;
        if (seen.lane != 0)
            scrub(ring, ring.producer, seen.lane, me);
        auto word = ring.producer.load();
        auto expected = word.pack();
        return word.lane == 0 && ring.producer.word.compare_exchange_strong(
                                     expected, word.next(word.position, me).pack(),
                                     std::memory_order_acquire, std::memory_order_relaxed);
    }

    std::vector<ring<T>> rings_;
    membership* self_;
    std::unique_ptr<choices> choices_;
};

}  // namespace cohort
