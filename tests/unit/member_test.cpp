#include "cohort/member/membership.hpp"
#include "support/eventually.hpp"
#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"

#include <set>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

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
    std::atomic<int> entered{0};
    std::atomic<int> refused{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i != max_lanes + 3; ++i)
        threads.emplace_back([&] {
            try {
                domain->enter_lane("many");
                ++entered;
            } catch (const error& full) {
                if (full.reason() == errc::no_space)
                    ++refused;
            }
            while (!go)
                std::this_thread::yield();
        });
    while (entered + refused != static_cast<int>(max_lanes) + 3)
        std::this_thread::yield();
    go = true;
    for (auto& thread : threads)
        thread.join();

    // The dispatcher and the primary's own thread have one each.
    CHECK(entered + 2 >= static_cast<int>(max_lanes) - 1);
    CHECK(refused >= 3);
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
