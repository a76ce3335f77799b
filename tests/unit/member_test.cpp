#include "cohort/member/membership.hpp"
#include "support/eventually.hpp"
#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"

#include <array>
#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

namespace {

/// Threads that have all lanes there are left, as long as it lives.
class crowd {
public:
    explicit crowd(domain& shared)
    {
        for (std::size_t i = 0; i != max_lanes + 3; ++i)
            threads_.emplace_back([&] { join(shared); });
        while (entered_ + refused_ != static_cast<int>(threads_.size()))
            std::this_thread::yield();
    }
    ~crowd()
    {
        go_ = true;
        for (auto& thread : threads_)
            thread.join();
    }
    crowd(const crowd&) = delete;
    crowd& operator=(const crowd&) = delete;

    [[nodiscard]] int entered() const noexcept { return entered_; }
    [[nodiscard]] int refused() const noexcept { return refused_; }

private:
    void join(domain& shared)
    {
        try {
            shared.enter_lane("many");
            ++entered_;
        } catch (const error& full) {
            if (full.reason() == errc::no_space)
                ++refused_;
        }
        while (!go_)
            std::this_thread::yield();
    }

    std::atomic<int> entered_{0};
    std::atomic<int> refused_{0};
    std::atomic<bool> go_{false};
    std::vector<std::thread> threads_;
};

}  // namespace

TEST_CASE("each thread has a lane of its own, and gives it back when it ends", "[member]")
{
    scratch_domain domain;
    std::set<lane_id> lanes{domain->members().lane()};
    // The dispatcher takes its lane when it comes to run.
    REQUIRE(test::eventually([&] {
        std::size_t live = 0;
        domain->members().members().for_each_lane_of(
            domain->self().id, [&](lane_id, lane_layout&, lane_word) { ++live; });
        return live == 2;
    }));
    for (int i = 0; i != 3; ++i)
        std::thread{[&] {
            domain->enter_lane("worker");
            lanes.insert(domain->members().lane());
            CHECK_THROWS_AS(domain->enter_lane("again"), error);
        }}.join();

    CHECK(lanes.size() == 2);  // the same one, three times
    const auto spare = *std::find_if(lanes.begin(), lanes.end(),
                                     [&](auto id) { return id != domain->members().lane(); });
    CHECK(domain->members().members().lane(spare).word().state == lane_state::free);
}

TEST_CASE("a domain hands out 127 lanes and then says so", "[member]")
{
    scratch_domain domain;
    const crowd all{*domain};

    // The dispatcher and the primary's own thread have one each.
    CHECK(all.entered() + 2 >= static_cast<int>(max_lanes) - 1);
    CHECK(all.refused() >= 3);
}

TEST_CASE("what needs a lane says so to a thread that gets none", "[member][port]")
{
    scratch_domain domain;
    auto port = domain->create_port("p", "null:no-rx=1");
    port.stop();
    const auto reason_of = [](auto&& call) {
        try {
            call();
        } catch (const error& refused) {
            return refused.reason();
        }
        return errc{};
    };
    std::array<errc, 3> reasons{};
    bool is_reset = true;
    const crowd all{*domain};

    std::thread{[&] {
        reasons = {reason_of([&] { port.set_up_tx(0, {}); }),
                   reason_of([&] { port.set_offloads({.tx_prepare = true}); }),
                   reason_of([&] { static_cast<void>(domain->capture_port("p")); })};
        is_reset = port.reset_stats();
    }}.join();

    CHECK(reasons == std::array{errc::no_space, errc::no_space, errc::no_space});
    CHECK_FALSE(is_reset);
}

TEST_CASE("the kernel's word alone says that a lane is dead", "[member]")
{
    scratch_domain domain;
    auto& table = domain->members().members();
    lane_id lost = 0;

    test::run_and_lose([&] { lost = domain->members().lane(); });

    // The dispatcher may have seen it already.
    CHECK((table.lane(lost).sentinel.owner_died() ||
           table.lane(lost).word().state != lane_state::live));
    CHECK_FALSE(table.is_dead(domain->members().lane()));
    while (table.lane(lost).word().state != lane_state::orphan)
        std::this_thread::yield();  // the dispatcher buries it
    CHECK_FALSE(table.lane(lost).sentinel.is_held());
}

TEST_CASE("an owner lock is taken over from a dead lane and stalls behind a live one", "[sync]")
{
    scratch_domain domain;
    owner_lock lock;
    const auto me = domain->members().lane();
    const auto is_dead = [&](lane_id lane) { return domain->members().members().is_dead(lane); };

    test::run_and_lose([&] {
        CHECK(lock.lock(domain->members().lane(), deadline_in(1s), is_dead) ==
              lock_result::acquired);
        CHECK(lock.holder() == domain->members().lane());
    });
    CHECK(lock.lock(me, deadline_in(1s), [](lane_id) { return true; }) == lock_result::taken_over);

    std::thread{[&] {
        CHECK(lock.lock(domain->members().lane(), deadline_in(1ms), is_dead) ==
              lock_result::stalled);
    }}.join();
    lock.unlock();
    CHECK(lock.holder() == 0);
}
