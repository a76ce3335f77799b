#include "cohort/domain/heap.hpp"

#include "support/eventually.hpp"
#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"
#include "support/sound_heap.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory_resource>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using test::require_sound;
using test::scratch_domain;

namespace {

owner_lock& lock_of(const heap& from)
{
    return const_cast<heap_layout&>(from.layout()).lock;
}

/// Takes the heap's lock and keeps it, as a member does that is stopped in the middle of a call.
void hold(const heap& from, lane_id lane)
{
    const auto nobody_is_dead = [](lane_id) { return false; };
    if (lock_of(from).lock(lane, deadline_in(1s), nobody_is_dead) != lock_result::acquired)
        throw std::runtime_error{"the heap is held already"};
}

std::uint64_t used_blocks(const heap& from)
{
    return from.layout().counters.used_blocks;
}

}  // namespace

TEST_CASE("zmalloc and calloc give zeroed memory, also where dirty blocks were", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* dirty = heap.malloc(5000);
    std::memset(dirty, 0xff, 5000);
    heap.free(dirty);

    auto* block = static_cast<std::byte*>(heap.zmalloc(5000));
    auto* array = static_cast<std::byte*>(heap.calloc(100, 50));

    const auto is_zero = [](std::byte each) { return each == std::byte{}; };
    CHECK(std::all_of(block, block + 5000, is_zero));
    CHECK(std::all_of(array, array + 5000, is_zero));
    CHECK(heap.calloc(std::size_t{1} << 33, std::size_t{1} << 33) == nullptr);
    CHECK(heap::last_failure().reason == errc::invalid_argument);
}

TEST_CASE("realloc grows and shrinks in place when it can", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* block = static_cast<char*>(heap.malloc(1000));
    std::memset(block, 'x', 1000);

    SECTION("into the free room behind it")
    {
        CHECK(heap.realloc(block, 100'000) == block);
        CHECK(heap.usable_bytes(block) >= 100'000);
    }
    SECTION("and gives back what it does not need")
    {
        CHECK(heap.realloc(block, 10) == block);
        CHECK(heap.usable_bytes(block) < 100);
    }
    SECTION("and moves when a neighbour is in the way")
    {
        auto* neighbour = heap.malloc(16);
        auto* moved = static_cast<char*>(heap.realloc(block, 100'000));
        CHECK(moved != block);
        CHECK(std::all_of(moved, moved + 1000, [](char each) { return each == 'x'; }));
        CHECK(heap.free(neighbour));
    }
    SECTION("and leaves the block as it was when there is no memory")
    {
        CHECK(heap.realloc(block, std::size_t{1} << 36) == nullptr);
        CHECK(heap.usable_bytes(block) >= 1000);
    }
    SECTION("and to 0 frees it")
    {
        CHECK(heap.realloc(block, 0) == nullptr);
        CHECK(used_blocks(heap) == 0);
    }
    require_sound(heap);
}

TEST_CASE("a pointer that is no used block is refused and counted", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* block = static_cast<std::byte*>(heap.zmalloc(1000));
    int on_stack = 0;

    CHECK_FALSE(heap.free(block + 16));
    CHECK_FALSE(heap.free(block + 1));
    CHECK_FALSE(heap.free(&on_stack));
    CHECK(heap.free(nullptr));
    CHECK(heap.free(block));
    CHECK_FALSE(heap.free(block));

    CHECK(heap.layout().bad_frees == 4);
    CHECK(heap.usable_bytes(block) == 0);
    CHECK_FALSE(heap.info(block).has_value());
    require_sound(heap);
}

TEST_CASE("a block that was merged into the free one before it is not freed again", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    constexpr std::size_t large = 10'000;  // is never put aside
    auto* before = heap.malloc(large);
    auto* block = heap.malloc(large);
    auto* after = heap.malloc(large);
    REQUIRE(heap.free(before));
    REQUIRE(heap.free(block));

    CHECK_FALSE(heap.free(block));
    CHECK_FALSE(heap.info(block).has_value());
    CHECK(heap.realloc(block, 20) == nullptr);

    CHECK(used_blocks(heap) == 1);
    require_sound(heap);
    CHECK(heap.free(after));
}

TEST_CASE("what cannot be had is refused with its numbers", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    const auto refusal = [&](const heap_request& wanted) {
        CHECK(heap.allocate(wanted) == nullptr);
        return heap::last_failure();
    };
    CHECK(refusal({.bytes = 16, .alignment = 48}).reason == errc::invalid_argument);
    CHECK(refusal({.bytes = 100, .boundary = 64}).reason == errc::invalid_argument);
    CHECK(refusal({.bytes = 100, .boundary = 96}).reason == errc::invalid_argument);
    CHECK(refusal({.bytes = max_heap_block + 1}).reason == errc::invalid_argument);
    const auto dry = refusal({.bytes = max_heap_block});
    CHECK(dry.reason == errc::no_memory);
    CHECK_THAT(dry.sentence, Catch::Contains("34359738496 bytes"));
    require_sound(heap);
    CHECK(used_blocks(heap) == 0);
}

TEST_CASE("a block knows its owner, type and lifetime", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    const auto flows = heap.type("flows");
    CHECK(flows != 0);
    CHECK(heap.type("flows") == flows);
    CHECK(heap.type("routes") != flows);

    auto* block = heap.malloc(100, flows);
    auto* mine = heap.allocate({.bytes = 100, .kept = lifetime::member});

    const auto info = heap.info(block).value();
    CHECK(info.owner == domain->self().id);
    CHECK(info.type == "flows");
    CHECK(info.usable_bytes == 112);
    CHECK(info.kept == lifetime::domain);
    CHECK(heap.info(mine).value().kept == lifetime::member);
}

TEST_CASE("a small block costs no more than 32 bytes above its size", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    static_cast<void>(heap.malloc(64));
    const auto before = heap.layout().counters.used_bytes.load();
    for (int i = 0; i != 1000; ++i)
        static_cast<void>(heap.malloc(64));
    CHECK(heap.layout().counters.used_bytes - before <= 1000 * (64 + 32));
}

TEST_CASE("standard containers live in the heap", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    {
        heap_resource resource{heap, heap.type("numbers")};
        std::pmr::vector<std::uint64_t> numbers{&resource};
        numbers.resize(10'000);
        std::iota(numbers.begin(), numbers.end(), 0u);
        CHECK(heap.info(numbers.data()).value().type == "numbers");

        std::map<int, int, std::less<>, heap_allocator<std::pair<const int, int>>> tree{
            heap_allocator<std::pair<const int, int>>{heap}};
        for (int i = 0; i != 100; ++i)
            tree[i] = i * i;
        CHECK(tree[99] == 9801);
        CHECK(used_blocks(heap) == 101);
    }
    CHECK(used_blocks(heap) == 0);
}

TEST_CASE("an arena that has become empty is given back, one is kept", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    std::vector<void*> blocks;
    for (int i = 0; i != 12; ++i)
        blocks.push_back(heap.malloc(2'000'000));
    CHECK(heap.layout().counters.arenas > 3);

    for (auto* block : blocks)
        CHECK(heap.free(block));

    CHECK(heap.layout().counters.arenas == 1);
    CHECK(heap.layout().counters.free_arenas == 1);
    auto* edge = heap.malloc(2'000'000);  // takes the kept one, no other is made
    CHECK(heap.layout().counters.arenas == 1);
    CHECK(heap.free(edge));
    require_sound(heap);
}

TEST_CASE("a small block that was freed is the next of its size", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* neighbour = heap.malloc(200);
    auto* block = heap.malloc(200);
    CHECK(heap.free(block));
    require_sound(heap);
    CHECK(heap.malloc(200) == block);

    for (auto* each : {block, neighbour})
        CHECK(heap.free(each));
    CHECK(heap.layout().counters.aside_blocks == 2);
    CHECK(heap.trim());
    CHECK(heap.layout().counters.aside_blocks == 0);
    CHECK(heap.layout().counters.free_blocks == 1);
    require_sound(heap);
}

TEST_CASE("a thread lost with the heap's lock in its hand stops nobody", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* block = heap.malloc(100);
    test::run_and_lose([&] { hold(heap, domain->members().lane()); });

    auto* another = heap.malloc(100);

    CHECK(another != nullptr);
    CHECK(heap.layout().repairs == 1);
    CHECK(heap.free(block));
    CHECK(heap.free(another));
    require_sound(heap);
}

TEST_CASE("the lock of a heap that nobody calls is repaired by the reaper", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* block = heap.malloc(100);
    test::run_and_lose([&] { hold(heap, domain->members().lane()); });

    // Otherwise the lane's next thread would pass for the holder.
    CHECK(test::eventually([&] { return heap.layout().lock.holder() == 0; }));
    CHECK(heap.layout().repairs == 1);
    CHECK(heap.free(block));
    require_sound(heap);
}

TEST_CASE("behind a holder that lives a call gives up and names it", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    const auto holder = domain->members().lane();
    hold(heap, holder);

    std::thread{[&] {
        CHECK(heap.malloc(100) == nullptr);
        CHECK(heap::last_failure().reason == errc::stalled);
        CHECK_THAT(heap::last_failure().sentence,
                   Catch::Contains("lane " + std::to_string(holder)));
    }}.join();

    lock_of(heap).unlock();
    CHECK(heap.free(heap.malloc(100)));
}
