// A scheduler that decides after each instruction which of several processes does the next one, so
// that a run can be repeated by its seed. What runs is the code that users run, not a model of it:
// each process is stepped by ptrace. Positions begin just below the wrap.
//
// Stores are seen at once this way; what a processor's store buffer adds is in
// docs/memory-ordering.md and shown by the thread sanitizer and the stress tests.

#include "fault/drawn.hpp"
#include "fault/stepped_process.hpp"
#include "fault/weave_record.hpp"
#include "support/eventually.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <new>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using test::stepped_process;
using test::weave_record;

namespace {

struct cast {
    std::string kind;  ///< values, pointers or stack
    std::uint64_t producers;
    std::uint64_t consumers;
    std::uint64_t each;  ///< elements of one producer
    std::size_t batch;
    ring_mode producer_mode = ring_mode::multi;
    ring_mode consumer_mode = ring_mode::multi;
};

constexpr std::uint32_t capacity = 8;
/// Many times what any of these takes: beyond it nobody makes progress.
constexpr std::uint64_t too_many_steps = 4'000'000;

/// One ring and the processes at it, all stopped before their first instruction.
class loom {
public:
    explicit loom(const cast& players) : players_{players}
    {
        // A waiter gives up after a moment, else a stopped claimant costs 50 ms each time.
        const ring_options options{.producers = players.producer_mode,
                                   .consumers = players.consumer_mode,
                                   .stall_limit_us = 100};
        if (players.kind == "values")
            layout_ = &domain_->create_ring<std::uint64_t>("woven", capacity, options).layout();
        else if (players.kind == "pointers")
            layout_ = &domain_->create_ring<void*>("woven", capacity, options).layout();
        else
            layout_ = &domain_->create_stack<std::uint64_t>("woven", capacity, 100).layout();
        zone_ = domain_->reserve_memzone("record", sizeof(weave_record));
    }

    /// Starts the processes anew on an empty ring.
    void set_up()
    {
        if (players_.kind != "stack")
            rewind(*layout_, 0xffff'fffa);
        ::new (zone_.data()) weave_record{};
        for (std::uint64_t i = 0; i != players_.producers; ++i)
            add("produce", i, players_.each);
        for (std::uint64_t i = 0; i != players_.consumers; ++i)
            add("consume", i, players_.producers * players_.each);
        open_.assign(processes_.size(), true);
    }

    /// Up to `count` instructions of one process. False when it has come to its end.
    bool step(std::size_t which, std::uint64_t count)
    {
        if (!open_[which])
            return false;
        const auto done = processes_[which].step(std::min(count, too_many_steps));
        steps_ += done;
        REQUIRE(steps_ < too_many_steps);  // somebody waits for ever
        open_[which] = done == count;
        return open_[which];
    }
    [[nodiscard]] bool any_open() const
    {
        return std::find(open_.begin(), open_.end(), true) != open_.end();
    }
    [[nodiscard]] std::size_t size() const noexcept { return processes_.size(); }

    /// Each element has arrived once, each producer's in its order, and the ring is sound.
    void judge()
    {
        std::vector<std::uint64_t> next(players_.producers, 1);
        std::vector<std::uint64_t> seen;
        for (const auto& consumer : record().by) {
            std::vector<std::uint64_t> last(players_.producers, 0);
            REQUIRE(consumer.count <= test::max_woven);
            for (std::uint64_t i = 0; i != consumer.count; ++i) {
                const auto element = consumer.elements[i];
                seen.push_back(element);
                const auto producer = element >> 16;
                REQUIRE(producer < players_.producers);
                REQUIRE((players_.kind == "stack" || (element & 0xffff) > last[producer]));
                last[producer] = element & 0xffff;
            }
        }
        std::sort(seen.begin(), seen.end());
        std::vector<std::uint64_t> sent;
        for (std::uint64_t producer = 0; producer != players_.producers; ++producer)
            for (std::uint64_t number = 1; number <= players_.each; ++number)
                sent.push_back(test::woven_element(producer, number));
        REQUIRE(seen == sent);
        const auto* fault = find_fault(*layout_);
        CAPTURE(fault ? fault : "");
        REQUIRE(!fault);
        REQUIRE(layout_->count() == 0);
    }

    /// The processes go, and with them their roles and claims.
    void tear_down()
    {
        for (auto& each : processes_)
            each.kill();
        processes_.clear();
        steps_ = 0;
        REQUIRE(test::eventually([&] {
            bool none = true;
            domain_->members().members().for_each_member(
                [&](member_id id, member_layout&, member_word) {
                    none = none && id == domain_->self().id;
                });
            return none;
        }));
    }

private:
    void add(const std::string& role, std::uint64_t index, std::uint64_t count)
    {
        processes_.emplace_back("weaver", std::vector<std::string>{"scratch", players_.kind, role,
                                                                   std::to_string(index),
                                                                   std::to_string(count),
                                                                   std::to_string(players_.batch)});
    }
    [[nodiscard]] weave_record& record() { return *reinterpret_cast<weave_record*>(zone_.data()); }

    cast players_;
    test::scratch_domain domain_;
    ring_layout* layout_ = nullptr;
    memzone zone_;
    std::deque<stepped_process> processes_;
    std::vector<bool> open_;
    std::uint64_t steps_ = 0;
};

/// Mostly short runs, now and then one that is longer than a call.
std::uint64_t run_length(std::mt19937_64& random)
{
    const auto kind = random() % 16;
    return 1 + random() % (kind < 8 ? 4 : kind < 15 ? 60 : 600);
}

}  // namespace

TEST_CASE("whatever the order of instructions, each element arrives once and in order",
          "[interleaving][ring]")
{
    const auto players = GENERATE(from_range(test::drawn<cast>(
        "orders", {
                      {"values", 2, 1, 60, 4},
                      {"values", 1, 2, 120, 4},
                      {"values", 1, 1, 120, 4, ring_mode::single, ring_mode::single},
                      {"values", 2, 1, 60, 4, ring_mode::multi, ring_mode::single},
                      {"pointers", 2, 1, 60, 4},
                      {"pointers", 2, 2, 60, 4},
                      {"pointers", 1, 1, 120, 4, ring_mode::single, ring_mode::single},
                      {"pointers", 1, 2, 120, 4, ring_mode::single, ring_mode::multi},
                      {"stack", 2, 2, 60, 4},
                  })));
    const test::one_processor pinned;
    loom woven{players};
    auto random = test::random_engine(players.kind);
    const auto rounds = test::scaled(1, 40);
    for (std::uint64_t round = 0; round != rounds; ++round) {
        woven.set_up();
        while (woven.any_open())
            woven.step(random() % woven.size(), run_length(random));
        woven.judge();
        woven.tear_down();
    }
}

TEST_CASE(
    "a process stopped after any instruction of a call, while others do theirs, goes on right",
    "[interleaving][ring]")
{
    // One batch each; the second and third process run while the first is stopped, until they are
    // done or have waited for it in vain.
    const auto players = GENERATE(from_range(test::drawn<cast>(
        "stops", {
                     {"values", 2, 1, 3, 3},
                     {"pointers", 2, 1, 3, 3},
                     {"values", 1, 1, 3, 3, ring_mode::single, ring_mode::single},
                     {"pointers", 1, 1, 3, 3, ring_mode::single, ring_mode::single},
                     {"stack", 2, 1, 3, 3},
                 })));
    const auto stopped = GENERATE(0u, 1u);  // a producer, or the next process
    constexpr std::uint64_t while_it_stands = 3000;
    const test::one_processor pinned;
    loom woven{players};
    auto random = test::random_engine(players.kind);
    std::uint64_t tried = 0;
    const auto try_at = [&](std::uint64_t k) {
        woven.set_up();
        const bool inside = woven.step(stopped, k);
        for (std::size_t other = 0; other != woven.size(); ++other)
            if (other != stopped)
                woven.step(other, while_it_stands);
        woven.step(stopped, while_it_stands);
        while (woven.any_open())
            for (std::size_t each = 0; each != woven.size(); ++each)
                woven.step(each, 50);
        woven.judge();
        woven.tear_down();
        ++tried;
        return inside;
    };
    if (test::full_scale())
        for (std::uint64_t k = 1; k <= while_it_stands && try_at(k); ++k)
            ;
    else
        for (std::uint64_t i = 0; i != test::scaled(6, 6); ++i)
            try_at(1 + random() % 250);
    CHECK(tried != 0);
}
