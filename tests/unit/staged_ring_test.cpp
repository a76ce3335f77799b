#include "cohort/ring/staged_ring.hpp"

#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

TEST_CASE("batches released out of order pass each stage in order", "[stages]")
{
    scratch_domain domain;
    auto ring = domain->create_staged_ring<int>("s", 5, {.stages = 2});
    const auto start = GENERATE(0u, 0xffff'fffeu);
    rewind(ring.layout(), start);
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3, 4, 5}) == 5);
    CHECK(ring.enqueue_burst(std::array{6}) == 0);
    CHECK(ring.counts(0).waiting == 5);

    auto first = ring.acquire_burst(0, 2);
    auto second = ring.acquire_bulk(0, 3);
    REQUIRE(second.size() == 3);
    CHECK_FALSE(ring.acquire_burst(0, 1));
    CHECK_FALSE(ring.acquire_burst(1, 1));
    CHECK(second[0] == 3);
    CHECK(second.release(std::array{30, 40, 50}));
    CHECK(ring.counts(0).held == 2);
    CHECK(ring.counts(0).done == 3);
    CHECK_FALSE(ring.acquire_burst(1, 1));
    first[1] = 20;
    CHECK(first.release());
    CHECK_FALSE(first.release());
    CHECK(find_fault(ring.layout()) == nullptr);

    int one = 0;
    CHECK_FALSE(ring.dequeue(one));
    CHECK_FALSE(ring.acquire_bulk(1, 6));
    auto all = ring.acquire_bulk(1, 5);
    REQUIRE(all.size() == 5);
    CHECK_FALSE(all.redelivered());
    CHECK(all.release());
    std::array<int, 6> out{};
    CHECK(ring.dequeue_bulk(out) == 0);
    CHECK(ring.dequeue_burst(out) == 5);
    CHECK(out == std::array{1, 20, 30, 40, 50, 0});
    CHECK(ring.empty());
    CHECK(find_fault(ring.layout()) == nullptr);
}

TEST_CASE("a staged ring is found by its name, and refuses what cannot be", "[stages]")
{
    scratch_domain domain;
    auto ring = domain->create_staged_ring<int>("s", 8, {.stages = 3});
    CHECK(domain->find_staged_ring<int>("s")->stages() == 3);
    CHECK_FALSE(domain->find_staged_ring<int>("other"));
    CHECK_FALSE(ring.acquire_burst(3, 1));
    CHECK_FALSE(ring.acquire_burst(0, 0));
    CHECK_THROWS_WITH(domain->find_ring<int>("s"), Catch::Contains("is a staged ring"));
    CHECK_THROWS_WITH(domain->find_staged_ring<long>("s"), Catch::Contains("4 bytes, not of 8"));
    CHECK_THROWS_WITH(domain->create_staged_ring<int>("t", 8, {.stages = 0}),
                      Catch::Contains("1 to 32"));
    CHECK_THROWS_AS(domain->create_staged_ring<int>("t", 8, {.stages = 33}), error);
    CHECK_THROWS_AS(domain->create_staged_ring<int>("s", 8, {.stages = 1}), error);
    CHECK(domain->destroy_ring("s"));
    CHECK_FALSE(domain->find_staged_ring<int>("s"));
}

TEST_CASE("what a dead worker held is acquired again, also in parts, and marked", "[stages]")
{
    scratch_domain domain;
    auto ring = domain->create_staged_ring<int>("s", 8, {.stages = 1});
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3, 4, 5, 6}) == 6);
    std::vector<stage_grant<int>> dead;
    test::run_and_lose([&] { dead.push_back(ring.acquire_burst(0, 5)); });
    auto later = ring.acquire_burst(0, 1);
    // Before or after the dispatcher has found the death.
    if (later.redelivered())
        CHECK(later[0] == 1);
    else
        CHECK(later[0] == 6);
    CHECK(later.release());

    std::vector<int> again;
    while (ring.counts(0).held + ring.counts(0).abandoned + ring.counts(0).waiting != 0) {
        auto batch = ring.acquire_burst(0, 2);
        if (!batch)
            continue;
        CHECK((batch.redelivered() ? batch.attempts() == 1 : batch[0] == 6));
        for (std::size_t i = 0; i != batch.size(); ++i)
            again.push_back(batch[i]);
        CHECK(find_fault(ring.layout()) == nullptr);
        CHECK(batch.release());
    }
    CHECK_FALSE(dead[0].release());  // it is another's by now, or done
    std::array<int, 8> out{};
    CHECK(ring.dequeue_burst(out) == 6);
    CHECK(out == std::array{1, 2, 3, 4, 5, 6, 0, 0});
    CHECK(find_fault(ring.layout()) == nullptr);
    CHECK(domain.audit().clean());
}

TEST_CASE("a batch that its holder had done before it died is not divided", "[stages]")
{
    scratch_domain domain;
    auto ring = domain->create_staged_ring<int>("s", 8, {.stages = 2});
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3, 4, 5, 6}) == 6);
    auto held = ring.acquire_bulk(0, 6);
    const auto seen = batch_word::unpack(batch_at(ring.layout(), 0));
    CHECK(held.release());
    auto first = ring.acquire_bulk(1, 2);
    auto second = ring.acquire_bulk(1, 4);
    REQUIRE(second.size() == 4);

    // By one who saw the word before the release, and the holder dead after it.
    const auto again = detail::hold_again(ring.layout(), 0, 0, seen, 2, domain->members().lane());

    CHECK(again.word.count == 0);
    CHECK(find_fault(ring.layout()) == nullptr);
    CHECK(second.release());
    CHECK(first.release());
    std::array<int, 6> out{};
    CHECK(ring.dequeue_bulk(out) == 6);
    CHECK(out == std::array{1, 2, 3, 4, 5, 6});
}

TEST_CASE("a stage whose claimant has died serves the next, and nothing was acquired", "[stages]")
{
    scratch_domain domain;
    auto ring = domain->create_staged_ring<int>("s", 8, {.stages = 1});
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3}) == 3);
    auto& layout = ring.layout();
    test::run_and_lose([&] {
        const auto lane = domain->members().lane();
        auto& head = stage_of(layout, 0).head.word;
        // As acquire does, as far as its last store.
        batch_at(layout, 0) = new_batch(layout, 0, 0, 2, static_cast<std::uint8_t>(lane)).pack();
        head = ring_word::unpack(head).next(0, lane).pack();
    });

    auto batch = ring.acquire_bulk(0, 3);
    REQUIRE(batch.size() == 3);
    CHECK_FALSE(batch.redelivered());
    CHECK(batch[0] == 1);
    CHECK(batch.release());
    CHECK(find_fault(layout) == nullptr);
}

TEST_CASE("a batch whose releaser has died before the tail moved passes on", "[stages]")
{
    scratch_domain domain;
    auto ring = domain->create_staged_ring<int>("s", 8, {.stages = 1});
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3}) == 3);
    auto batch = ring.acquire_bulk(0, 3);
    auto& word = batch_at(ring.layout(), 0);
    word = batch_word::unpack(word).of(batch_word::done).pack();
    REQUIRE(stage_of(ring.layout(), 0).tail == 0);

    std::array<int, 3> out{};
    CHECK(ring.dequeue_bulk(out) == 3);
    CHECK(out == std::array{1, 2, 3});
    CHECK_FALSE(batch.release());
}

TEST_CASE("a batch that is given back, or whose lane is left, is acquired again", "[stages]")
{
    scratch_domain domain;
    auto ring = domain->create_staged_ring<int>("s", 8, {.stages = 1});
    REQUIRE(ring.enqueue_bulk(std::array{1, 2}) == 2);
    static_cast<void>(ring.acquire_burst(0, 2));
    CHECK(ring.counts(0).abandoned == 2);
    auto held = ring.acquire_burst(0, 2);
    CHECK(held.attempts() == 1);
    domain->leave_lane();
    CHECK_FALSE(held.release());
    auto last = ring.acquire_burst(0, 2);
    CHECK(last.attempts() == 2);
    CHECK(last.release());
    CHECK(ring.layout().count() == 2);
    CHECK(find_fault(ring.layout()) == nullptr);
}

TEST_CASE("the holder that others wait for is named", "[stages]")
{
    scratch_domain domain;
    auto ring = domain->create_staged_ring<int>("s", 8, {.stages = 1});
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3}) == 3);
    auto held = ring.acquire_burst(0, 2);
    CHECK(ring.acquire_burst(0, 1).release());
    CHECK(ring.oldest(0).lane == domain->members().lane());
    CHECK(ring.oldest(0).count == 2);
    CHECK_THAT(dump(ring.layout(), "s"), Catch::Contains("holds the oldest 2"));
    CHECK(held.release());
    CHECK(ring.oldest(0).count == 0);
}

TEST_CASE("packets in a stage are the ring's; those replaced and dequeued are received", "[stages]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto ring = domain->create_staged_ring<mbuf*>("s", 8, {.stages = 1});
    auto* packet = pool.alloc();
    REQUIRE(ring.enqueue(packet));
    auto held = ring.acquire_burst(0, 1);
    CHECK(domain->find(packet).text() == "in the ring \"s\"");
    CHECK(domain.audit_of("p").in_rings == 1);

    auto* other = pool.alloc();
    held.replace(0, other);
    CHECK(held.release());
    CHECK(domain->find(packet).where == whereabouts::place::received);
    CHECK(domain->find(other).where == whereabouts::place::ring);
    free(packet);
    REQUIRE(ring.dequeue(packet));
    CHECK(packet == other);
    CHECK(domain->find(packet).where == whereabouts::place::received);
    free(packet);
    CHECK(domain.audit().clean());
}

TEST_CASE("the validator sees stages out of order and broken batches", "[stages]")
{
    scratch_domain domain;
    auto ring = domain->create_staged_ring<int>("s", 8, {.stages = 2});
    REQUIRE(ring.enqueue_bulk(std::array{1, 2, 3}) == 3);
    auto held = ring.acquire_burst(0, 2);
    REQUIRE(find_fault(ring.layout()) == nullptr);
    auto& tail = stage_of(ring.layout(), 1).tail;
    tail = 1;
    CHECK_THAT(find_fault(ring.layout()), Catch::Contains("not in order"));
    tail = 0;
    auto& word = batch_at(ring.layout(), 0);
    const auto whole = word.exchange(0);
    CHECK_THAT(find_fault(ring.layout()), Catch::Contains("one behind the other"));
    word = whole | 0xff;
    CHECK_THAT(find_fault(ring.layout()), Catch::Contains("cannot exist"));
    word = whole;
    CHECK(held.release());
}

TEST_CASE("many workers lose and double nothing, and the order is kept", "[stages]")
{
    struct item {
        std::uint32_t number;
        std::uint32_t passed;
    };
    constexpr std::uint32_t total = 4'000;
    scratch_domain domain;
    auto ring = domain->create_staged_ring<item>("s", 64, {.stages = 2});
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
        for (std::uint32_t i = 0; i != total;)
            if (ring.enqueue({i, 0}))
                ++i;
            else
                std::this_thread::yield();
    });
    for (std::uint32_t worker = 0; worker != 4; ++worker)
        threads.emplace_back([&, stage = worker % 2] {
            while (!over) {
                auto first = ring.acquire_burst(stage, 3);
                auto second = ring.acquire_burst(stage, 2);
                for (auto* grant : {&second, &first}) {  // out of order
                    for (std::size_t i = 0; i != grant->size(); ++i)
                        (*grant)[i].passed = (*grant)[i].passed * 10 + stage + 1;
                    grant->release();
                }
                if (!first && !second)
                    std::this_thread::yield();
            }
        });
    std::uint32_t wrong = 0;
    for (std::uint32_t next = 0; next != total;) {
        std::array<item, 8> out{};
        const auto count = ring.dequeue_burst(out);
        for (const auto& each : std::span{out}.first(count))
            wrong += each.number != next++ || each.passed != 12;
        if (count == 0)
            std::this_thread::yield();
    }
    over = true;
    for (auto& thread : threads)
        thread.join();
    CHECK(wrong == 0);
    CHECK(ring.empty());
    CHECK(find_fault(ring.layout()) == nullptr);
}
