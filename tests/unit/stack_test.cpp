#include "cohort/ring/stack.hpp"

#include "cohort/pool/pool_cache.hpp"
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

TEST_CASE("what was pushed last is popped first, in bulks of all or none", "[stack]")
{
    scratch_domain domain;
    auto stack = domain->create_stack<int>("s", 5);
    CHECK(stack.empty());
    CHECK(stack.push_bulk(std::array{1, 2, 3}) == 3);
    CHECK(stack.push_bulk(std::array{4, 5, 6}) == 0);
    CHECK(stack.push_burst(std::array{4, 5, 6}) == 2);
    CHECK(stack.full());
    CHECK(stack.capacity() == 5);

    std::array<int, 6> out{};
    CHECK(stack.pop_bulk(out) == 0);
    CHECK(stack.pop_bulk(std::span{out}.first(2)) == 2);
    CHECK(out[0] == 5);
    CHECK(out[1] == 4);
    CHECK(stack.pop_burst(out) == 3);
    CHECK(out[0] == 3);
    CHECK(out[2] == 1);
    CHECK(stack.pop_burst(out) == 0);
    CHECK(stack.push_bulk({}) == 0);
    CHECK(find_fault(stack.layout()) == nullptr);
}

TEST_CASE("a stack is found by its name, and is no ring", "[stack]")
{
    scratch_domain domain;
    domain->create_stack<int>("s", 5);
    domain->create_ring<int>("r", 5);
    CHECK(domain->find_stack<int>("s"));
    CHECK_FALSE(domain->find_stack<int>("other"));
    CHECK_THROWS_WITH(domain->find_ring<int>("s"), Catch::Contains("is a stack, not a ring"));
    CHECK_THROWS_WITH(domain->find_stack<int>("r"), Catch::Contains("not a stack"));
    CHECK_THROWS_WITH(domain->find_stack<long>("s"), Catch::Contains("4 bytes, not of 8"));
    CHECK_THROWS_AS(domain->create_stack<int>("s", 5), error);
    CHECK_THROWS_AS(domain->create_stack<int>("t", 0), error);
    CHECK(domain->destroy_ring("s"));
    CHECK_FALSE(domain->find_stack<int>("s"));
}

TEST_CASE("packets on a stack are the stack's, and popped ones are received from it", "[stack]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto stack = domain->create_stack<mbuf*>("s", 16);
    auto* packet = pool.alloc();
    REQUIRE(stack.push(packet));

    CHECK(domain.audit().clean());
    CHECK(domain.audit_of("p").in_rings == 1);
    CHECK(domain->find(packet).text() == "in the ring \"s\"");
    REQUIRE(stack.pop(packet));
    CHECK(domain->find(packet).where == whereabouts::place::received);
    free(packet);
}

TEST_CASE("a stack claimed by a thread that died serves the next, and nothing has moved", "[stack]")
{
    scratch_domain domain;
    auto stack = domain->create_stack<int>("s", 8);
    REQUIRE(stack.push_bulk(std::array{1, 2}) == 2);
    const auto claim = [&](lane_id lane) {
        auto& word = stack.layout().producer.word;
        const auto seen = ring_word::unpack(word.load());
        word.store(seen.next(seen.position, lane).pack());
    };
    test::run_and_lose([&] {
        claim(domain->members().lane());
        CHECK(stack.layout().producer.load().lane != 0);  // the dispatcher may mend it at once
    });

    int out = 0;
    CHECK(stack.pop(out));
    CHECK(out == 2);
    CHECK(stack.push(7));
    CHECK(stack.count() == 2);
}

TEST_CASE("threads that push and pop at once lose and double nothing", "[stack]")
{
    scratch_domain domain;
    constexpr std::uint64_t each = 5'000;
    auto stack = domain->create_stack<std::array<std::uint64_t, 3>>("s", 64);
    std::array<std::vector<std::uint64_t>, 2> popped;
    std::atomic<std::uint64_t> total{0};
    std::vector<std::thread> threads;
    for (std::uint64_t who = 0; who != 2; ++who)
        threads.emplace_back([&, who] {
            for (std::uint64_t i = 0; i != each;)
                i += stack.push({who, i, who ^ i}) ? 1 : 0;
        });
    for (auto& mine : popped)
        threads.emplace_back([&] {
            while (total != 2 * each) {
                std::array<std::array<std::uint64_t, 3>, 5> out{};
                const auto count = stack.pop_burst(out);
                for (const auto& value : std::span{out}.first(count))
                    mine.push_back((value[0] ^ value[1]) == value[2] ? value[0] << 32 | value[1]
                                                                     : ~std::uint64_t{0});
                total += count;
            }
        });
    for (auto& thread : threads)
        thread.join();

    std::set<std::uint64_t> all;
    for (const auto& mine : popped)
        all.insert(mine.begin(), mine.end());
    CHECK(all.size() == 2 * each);
    CHECK(all.count(~std::uint64_t{0}) == 0);
}

TEST_CASE("a pool on a stack gives the newest first, and an unknown backing is refused", "[stack]")
{
    scratch_domain domain;
    auto pool = domain->create_mempool(
        "p", {.count = 100, .element_bytes = 8, .cache_size = 0, .backing = "stack"});
    auto* first = pool.get();
    auto* second = pool.get();
    pool.put(second);
    pool.put(first);
    CHECK(pool.get() == first);
    CHECK(pool.get() == second);
    pool.put_bulk(std::array{first, second});
    CHECK(domain.audit_of("p").in_pool == 100);
    CHECK(domain.audit().clean());
    {
        pool_cache cache{pool, 8};
        REQUIRE(cache.get());
        CHECK(domain.audit().clean());
    }
    CHECK_THROWS_WITH(
        domain->create_mempool(
            "q", {.count = 8, .element_bytes = 8, .cache_size = 0, .backing = "heap"}),
        Catch::Contains("\"heap\"") && Catch::Contains("\"stack\""));
}
