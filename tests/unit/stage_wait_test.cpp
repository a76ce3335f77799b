#include "cohort/ring/stage_wait.hpp"

#include "cohort/ring/ring_offer.hpp"
#include "support/eventually.hpp"
#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::eventually;
using cohort::test::patience;
using cohort::test::scratch_domain;

namespace {

/// The lowest bit of a bell is set while somebody sleeps; the others count how often it was rung.
std::uint32_t word_of(const futex_bell& bell)
{
    return __atomic_load_n(reinterpret_cast<const std::uint32_t*>(&bell), __ATOMIC_ACQUIRE);
}

/// A ring of 8 in two stages, and a thread that sleeps at it.
class sleeper_at_stages {
public:
    ~sleeper_at_stages()
    {
        if (thread_.joinable())
            thread_.join();
    }

    [[nodiscard]] staged_ring<int>& ring() noexcept { return ring_; }
    /// Runs `work` in a thread; returns when that sleeps at the bell of `stage`.
    template <typename Work>
    void sleep(std::uint32_t stage, Work work)
    {
        thread_ = std::thread{work};
        REQUIRE(eventually([&] { return sleeps_before(stage); }));
    }
    [[nodiscard]] bool sleeps_before(std::uint32_t stage)
    {
        return (word_of(bell_before(ring_.layout(), stage)) & 1) != 0;
    }
    /// How often it was rung there: by who has something for sleepers, and when a lane ends.
    [[nodiscard]] std::uint32_t rings(std::uint32_t stage)
    {
        return word_of(bell_before(ring_.layout(), stage)) >> 1;
    }
    void join() { thread_.join(); }

private:
    scratch_domain domain_;
    staged_ring<int> ring_{domain_->create_staged_ring<int>("s", 8, {.stages = 2})};
    std::thread thread_;
};

}  // namespace

TEST_CASE("a worker asleep is woken when the oldest passes the stage before, not earlier",
          "[stages][wait]")
{
    sleeper_at_stages scene;
    auto& ring = scene.ring();
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3, 4}) == 4);
    auto first = ring.acquire_burst(0, 2);
    auto second = ring.acquire_burst(0, 2);
    std::size_t got = 0;
    auto end = wait_end::timed_out;
    scene.sleep(1, [&] {
        auto came = wait_acquire_burst(ring, 1, 8, deadline_in(patience));
        got = came.batch.size();
        end = came.end;
        came.batch.release();
    });

    REQUIRE(second.release());
    CHECK(scene.rings(1) == 0);
    REQUIRE(first.release());
    CHECK(scene.rings(1) != 0);

    scene.join();
    CHECK(got == 4);
    CHECK(end == wait_end::moved);
}

TEST_CASE("a worker asleep in the first stage is woken by a producer", "[stages][wait]")
{
    sleeper_at_stages scene;
    std::size_t got = 0;
    scene.sleep(0, [&] {
        auto came = wait_acquire_burst(scene.ring(), 0, 8, deadline_in(patience));
        got = came.batch.size();
        came.batch.release();
    });

    REQUIRE(scene.ring().enqueue(1));
    CHECK(scene.rings(0) != 0);

    scene.join();
    CHECK(got == 1);
}

TEST_CASE("a consumer asleep is woken when the oldest has passed the last stage", "[stages][wait]")
{
    sleeper_at_stages scene;
    auto& ring = scene.ring();
    REQUIRE(ring.enqueue_bulk(std::array{1, 2}) == 2);
    std::array<int, 4> items{};
    waited came;
    scene.sleep(2, [&] { came = wait_dequeue_burst(ring, items, deadline_in(patience)); });

    REQUIRE(ring.acquire_burst(0, 2).release());
    CHECK(scene.rings(2) == 0);
    REQUIRE(ring.acquire_burst(1, 2).release());
    CHECK(scene.rings(2) != 0);

    scene.join();
    CHECK(came.count == 2);
}

TEST_CASE("a worker asleep is woken by a batch that is given back", "[stages][wait]")
{
    sleeper_at_stages scene;
    auto& ring = scene.ring();
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3}) == 3);
    auto held = ring.acquire_burst(0, 3);
    bool redelivered = false;
    scene.sleep(0, [&] {
        auto came = wait_acquire_burst(ring, 0, 8, deadline_in(patience));
        redelivered = came.batch.size() == 3 && came.batch.redelivered();
        came.batch.release();
    });

    held.give_back();
    CHECK(scene.rings(0) != 0);

    scene.join();
    CHECK(redelivered);
}

TEST_CASE("a sleeper behind one that dies is woken, whatever the dead had come to",
          "[stages][wait]")
{
    const bool moved = GENERATE(true, false);
    INFO((moved ? "it had moved the tail and woken nobody" : "it held a batch"));
    sleeper_at_stages scene;
    auto& ring = scene.ring();
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3}) == 3);
    const std::uint32_t stage = moved ? 1 : 0;
    std::vector<stage_grant<int>> lost;
    std::atomic<bool> end{false};
    std::size_t got = 0;
    test::run_and_lose([&] {
        lost.push_back(ring.acquire_burst(0, 3));
        scene.sleep(stage, [&] {
            auto came = wait_acquire_burst(ring, stage, 8, deadline_in(patience));
            got = came.batch.size();
            came.batch.release();
            while (!end)  // the end of its lane rings, too
                std::this_thread::yield();
        });
        if (moved) {
            auto word = batch_word::unpack(batch_at(ring.layout(), 0).load());
            batch_at(ring.layout(), 0).store(word.of(batch_word::done).pack());
            stage_of(ring.layout(), 0).tail.store(3);
        }
    });

    CHECK(eventually([&] { return scene.rings(stage) != 0; }));
    end = true;
    scene.join();
    CHECK(got == 3);
}

TEST_CASE("a wait in a stage ends at its deadline, and where there is none at once",
          "[stages][wait]")
{
    sleeper_at_stages scene;
    auto& ring = scene.ring();
    REQUIRE(ring.enqueue(1));

    const auto late = wait_acquire_burst(ring, 1, 8, deadline_in(5ms));
    CHECK_FALSE(late.batch);
    CHECK(late.end == wait_end::timed_out);
    CHECK(wait_acquire_burst(ring, 2, 8, deadline_in(patience)).end == wait_end::refused);
    const auto nothing = wait_acquire_burst(ring, 0, 0, deadline_in(patience));
    CHECK_FALSE(nothing.batch);
    CHECK(nothing.end == wait_end::moved);
}

TEST_CASE("a single producer is gone for a stage when all that it has put in has passed it",
          "[stages][wait]")
{
    const bool passes = GENERATE(true, false);
    scratch_domain domain;
    auto ring =
        domain->create_staged_ring<int>("s", 8, {.stages = 1, .producers = ring_mode::single});
    std::atomic<bool> end{false};
    std::thread producer{[&] {
        static_cast<void>(ring.enqueue(1));
        while (!end)
            std::this_thread::yield();
    }};
    REQUIRE(eventually([&] { return ring.counts(0).waiting == 1; }));
    auto held = ring.acquire_burst(0, 8);
    std::array<int, 4> items{};
    waited consumed;
    std::thread consumer{
        [&] { consumed = wait_dequeue_burst(ring, items, deadline_in(patience)); }};
    std::atomic<bool> awake{false};
    std::size_t again = 0;
    auto ended = wait_end::moved;
    std::thread worker{[&] {
        auto came = wait_acquire_burst(ring, 0, 8, deadline_in(patience));
        awake = true;
        again = came.batch.size();
        ended = came.end;
        came.batch.release();
    }};
    const auto word_before = [&](std::uint32_t stage) {
        return word_of(bell_before(ring.layout(), stage));
    };
    REQUIRE(eventually([&] { return (word_before(0) & word_before(1) & 1) != 0; }));

    // Gone by itself, but what it has left is in somebody's hands and may come back: who is woken
    // by that sleeps again.
    const auto rung = word_before(0) >> 1;
    end = true;
    producer.join();
    CHECK(eventually([&] {
        const auto word = word_before(0);
        return awake || (word >> 1 != rung && (word & 1) != 0);
    }));
    CHECK_FALSE(awake);
    if (passes)
        CHECK(held.release());
    else
        held.give_back();
    worker.join();
    consumer.join();

    CHECK(again == (passes ? 0u : 1u));
    CHECK(ended == (passes ? wait_end::peer_gone : wait_end::moved));
    CHECK(consumed.count == 1);
}

TEST_CASE("a full staged ring keeps the rule that it was made with", "[stages][offer]")
{
    scratch_domain domain;
    auto drops = domain->create_staged_ring<int>(
        "drops", 4, {.stages = 1, .when_full = full_policy::drop_new, .watermark = 3});
    auto blocks = domain->create_staged_ring<int>(
        "blocks", 4,
        {.stages = 1, .when_full = full_policy::block, .full_patience_us = 20'000'000});
    const std::array six{1, 2, 3, 4, 5, 6};

    const auto dropped = offer(drops, six);
    CHECK(dropped.accepted == 4);
    CHECK(dropped.dropped == 2);
    CHECK(dropped.above_watermark);
    CHECK(drops.layout().producer.dropped == 2);

    std::thread worker{[&] {
        for (int left = 6; left != 0;) {
            blocks.acquire_burst(0, 1).release();
            int one = 0;
            left -= blocks.dequeue(one) ? 1 : 0;
        }
    }};
    CHECK(offer(blocks, six).accepted == 6);
    worker.join();
}
