#pragma once
// A domain with everything that a victim may be killed in, and what must hold after each death.

#include "cohort/packet/mbuf_clone.hpp"
#include "fault/alone.hpp"
#include "fault/step_pieces.hpp"
#include "fault/stepped_lanes.hpp"
#include "fault/stepped_own_memory.hpp"
#include "fault/stepped_process.hpp"
#include "fault/stepped_stack.hpp"
#include "fault/stepped_stages.hpp"
#include "fault/stepped_totals.hpp"
#include "fault/stepped_values.hpp"
#include "support/eventually.hpp"
#include "support/scratch_domain.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

/// What "multi" holds: packets of its own, or two clones of each packet in "single".
enum class filling { packets, clones };

/// What a call leaves to be checked.
class step_stage {
public:
    static constexpr std::uint32_t packets = 256;

    step_stage(std::uint32_t filled, std::uint32_t position, recovery_policy policy,
               filling with = filling::packets, std::string_view backing = "ring")
        : filled_{filled}
        , position_{position}
        , filling_{with}
        , pool_{domain_->create_pktmbuf_pool(
              "p", {.count = packets, .cache_size = 16, .policy = policy, .backing = backing})}
        , multi_{domain_->create_ring<mbuf*>("multi", 8)}
        , single_{domain_->create_ring<mbuf*>(
              "single", 8, {.producers = ring_mode::single, .consumers = ring_mode::single})}
    {
    }

    void fill_with_clones()
    {
        for (std::uint32_t i = 0; i != filled_; ++i) {
            auto* packet = pool_.alloc_chain(64);
            packet->hash.tag = i + 1;
            for (int copies = 0; copies != 2; ++copies)
                REQUIRE(multi_.enqueue(clone(*packet, pool_.objects())));
            REQUIRE(single_.enqueue(packet));
        }
    }

    void fill()
    {
        // The same place each time: which way a call goes depends on it.
        for (auto* ring : {&multi_, &single_})
            rewind(ring->layout(), position_);
        values_.fill(filled_, position_);
        totals_.fill();
        if (filling_ == filling::clones) {
            fill_with_clones();
            domain_->leave_lane();
            return;
        }
        for (auto* ring : {&multi_, &single_}) {
            for (std::uint32_t i = 0; i != filled_; ++i) {
                auto* packet = pool_.alloc();
                packet->hash.tag = i;
                REQUIRE(ring->enqueue(packet));
            }
        }
        shelf_.fill(pool_, filled_);
        stages_.fill(pool_, filled_, position_);
        domain_->leave_lane();  // roles and caches are free for the victim
    }

    /// Kills after `count` instructions of `call`, by way of `known`, and checks everything.
    /// Returns `count`, or another number when the call has come to its end before.
    std::uint64_t kill_after(const std::string& call, std::uint64_t count, const route& known)
    {
        return kill(call, [&](stepped_process& victim) { return victim.step_by(known, count); });
    }
    /// The same by stepping all of them; returns the way that the call went.
    route kill_after(const std::string& call, std::uint64_t count)
    {
        route passed;
        kill(call, [&](stepped_process& victim) {
            passed = victim.record(count);
            return passed.length();
        });
        return passed;
    }

    /// From here on victims have memory of their own, in the same place as the tester.
    void bring_memory() { own_.emplace(*domain_, pieces_); }

    /// Where the victim stands after `count` instructions, by way of `known`.
    std::uintptr_t place_after(const std::string& call, std::uint64_t count, const route& known)
    {
        std::uintptr_t place = 0;
        kill(call, [&](stepped_process& victim) {
            const auto steps = victim.step_by(known, count);
            place = steps == count ? victim.position() : 0;
            return steps;
        });
        return place;
    }

    [[nodiscard]] const stepped_totals& totals() const noexcept { return totals_; }

    struct loss {
        bool dequeued = false;      ///< "multi" holds less than it was filled with
        std::uint32_t packets = 0;  ///< lost by this kill
    };
    /// Kills another program after `count` instructions, and checks nothing.
    loss lost_by(const std::string& program, const std::string& call, std::uint64_t count)
    {
        loss seen;
        kill_and_reap(program, call, [&](stepped_process& victim) {
            const auto steps = victim.step(count);
            seen.dequeued = multi_.count() < filled_;
            return steps;
        });
        collect();
        const auto missing = packets - domain_.audit_of("p").in_pool;
        seen.packets = missing - std::exchange(missing_, missing);
        return seen;
    }

private:
    template <typename Advance>
    std::uint64_t kill(const std::string& call, Advance&& advance)
    {
        const auto steps = kill_and_reap("stepper", call, advance);
        INFO("call " << call << ", killed after instruction " << steps);
        const auto report = domain_.audit();
        CAPTURE(report.faults);
        REQUIRE(report.clean());
        if (call == "populate") {
            REQUIRE(domain_->find_mempool("stepped"));
            const auto seen = domain_.audit_of("stepped");  // all of a chunk, or none
            REQUIRE(((seen.count == 0 || seen.count == 8) && seen.free() == seen.count));
            domain_->destroy_mempool("stepped");
        }
        collect();
        REQUIRE(domain_.audit_of("p").in_pool == packets);
        const auto heap_fault = heap_.find_fault();
        CAPTURE(heap_fault.value_or(""));
        REQUIRE(!heap_fault);
        REQUIRE(heap_.layout().counters.used_blocks == 0);  // they went with the victim
        if (own_)
            own_->check_and_reset();
        REQUIRE(eventually([&] { return domain_.audit_of("cohort.messages").free() == 1024; }));
        return steps;
    }

    template <typename Advance>
    std::uint64_t kill_and_reap(const std::string& program, const std::string& call,
                                Advance&& advance)
    {
        fill();
        std::vector<std::string> arguments{"scratch", call};
        if (own_)
            arguments.push_back(files_.path());
        stepped_process victim{program, arguments};
        std::optional<ipc::async_request> asked;
        if (call == "reply")
            asked = domain_->actions().request_async(ipc::target{"victim"}, "echo", "payload",
                                                     {.timeout = stepping_patience});
        const std::uint64_t steps = advance(victim);
        const auto deaths = domain_->region().recovery.deaths.load();
        victim.kill();
        survivors_proceed();
        REQUIRE(eventually([&] {
            return domain_->region().recovery.deaths.load() != deaths &&
                   !domain_->actions().find_member("victim") && is_alone(*domain_);
        }));
        if (asked)
            check_end(asked->wait(), victim.has_done());
        return steps;
    }

    /// Of a request to a victim: it was answered, whole, or the victim has died before.
    static void check_end(const ipc::answers& all, bool done)
    {
        REQUIRE(all.size() == 1);
        const auto& only = all.front();
        REQUIRE(((only.what == ipc::verdict::died && !done) ||
                 (only.what == ipc::verdict::replied && only.text() == "payload")));
    }

    void collect()
    {
        drain_in_order(multi_);
        drain_in_order(single_);
        values_.check();
        shelf_.check(filling_ == filling::packets);
        stages_.check(filling_ == filling::packets);
        lanes_.check();
        totals_.check();
        domain_->release_memzone("stepped");
        domain_->destroy_object("stepped");
        pool_.objects().flush();
    }

    /// Both ends of the ring the victim died in, before anybody has reaped it.
    void survivors_proceed()
    {
        REQUIRE(heap_.free(heap_.malloc(100)));
        if (own_)
            own_->proceed();
        values_.proceed();
        shelf_.proceed(pool_);
        stages_.proceed(pool_);
        lanes_.proceed(pool_);
        totals_.proceed();
        mbuf* packet = nullptr;
        if (multi_.dequeue(packet))
            free(packet);
        packet = pool_.alloc();
        REQUIRE(packet);
        packet->hash.tag = 5000;
        REQUIRE(eventually([&] { return multi_.enqueue(packet) || make_room(); }));
    }
    bool make_room()
    {
        mbuf* packet = nullptr;
        if (multi_.dequeue(packet))
            free(packet);
        return false;
    }

    void drain_in_order(ring<mbuf*>& from)
    {
        const bool in_order = pool_.objects().layout().policy == recovery_policy::release;
        std::uint32_t last = 0;
        bool first = true;
        for (mbuf* packet = nullptr; from.dequeue(packet); free(packet)) {
            REQUIRE(find_fault(*packet, true) == nullptr);
            REQUIRE((first || !in_order || packet->hash.tag > last ||
                     (filling_ == filling::clones &&
                      packet->hash.tag == last)));  // FIFO: tags were sent in rising order
            last = packet->hash.tag;
            first = false;
        }
    }

    scratch_directory files_;
    step_pieces pieces_{files_.path()};
    scratch_domain domain_;
    std::uint32_t filled_;
    std::uint32_t position_;
    filling filling_;
    heap heap_{domain_->heap()};
    pktmbuf_pool pool_;
    ring<mbuf*> multi_;
    ring<mbuf*> single_;
    stepped_values values_{*domain_};
    stepped_stack shelf_{*domain_};
    stepped_stages stages_{*domain_};
    stepped_lanes lanes_{*domain_};
    stepped_totals totals_{*domain_};
    std::optional<stepped_own_memory> own_;
    std::uint32_t missing_ = 0;  ///< packets, by all that were killed
};

}  // namespace cohort::test
