#include "cohort/domain/heap.hpp"

#include "support/lost_thread.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory_resource>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using test::scratch_domain;

namespace {

bool is_aligned(const void* block, std::size_t alignment)
{
    return reinterpret_cast<std::uintptr_t>(block) % alignment == 0;
}

void require_sound(heap& from)
{
    const auto fault = from.find_fault();
    INFO(fault.value_or(""));
    REQUIRE_FALSE(fault.has_value());
}

std::uint64_t used_blocks(const heap& from)
{
    return from.layout().counters.used_blocks;
}

/// A random sequence of calls, checked against what a simple model says must be there.
class model {
public:
    model(const heap& from, std::uint64_t seed) : heap_{from}, random_{seed} {}
    ~model()
    {
        for (const auto& [block, bytes] : blocks_)
            heap_.free(block);
    }
    model(const model&) = delete;
    model& operator=(const model&) = delete;

    void step()
    {
        switch (random_() % 8) {
        case 0:
        case 1:
        case 2: allocate(); break;
        case 3: resize(); break;
        default:
            if (blocks_.size() > 300 || random_() % 2 == 0)
                release();
            else
                allocate();
        }
    }
    void check_all() const
    {
        for (const auto& [block, bytes] : blocks_)
            check(block, bytes);
    }

private:
    static unsigned char pattern(const std::byte* block, std::size_t bytes) noexcept
    {
        return static_cast<unsigned char>(reinterpret_cast<std::uintptr_t>(block) / 16 + bytes);
    }
    static void check(const std::byte* block, std::size_t bytes)
    {
        const auto wanted = std::byte{pattern(block, bytes)};
        REQUIRE(std::all_of(block, block + bytes, [&](std::byte each) { return each == wanted; }));
    }
    void fill(std::byte* block, std::size_t bytes)
    {
        std::memset(block, pattern(block, bytes), bytes);
        blocks_[block] = bytes;
    }

    std::size_t any_size() { return random_() % 20 == 0 ? random_() % 200'000 : random_() % 3000; }

    void allocate()
    {
        heap_request wanted{.bytes = any_size()};
        if (random_() % 4 == 0)
            wanted.alignment = std::size_t{1} << random_() % 14;
        if (random_() % 8 == 0)
            wanted.boundary = std::bit_ceil(wanted.bytes + 1) << random_() % 3;
        auto* block = static_cast<std::byte*>(heap_.allocate(wanted));
        INFO(heap::last_failure().sentence);
        REQUIRE(block);
        REQUIRE(is_aligned(block, std::max<std::size_t>(16, wanted.alignment)));
        REQUIRE(heap_.usable_bytes(block) >= wanted.bytes);
        if (wanted.boundary != 0 && wanted.bytes != 0) {
            const auto first = reinterpret_cast<std::uintptr_t>(block);
            REQUIRE(first / wanted.boundary == (first + wanted.bytes - 1) / wanted.boundary);
        }
        // No live block may reach into this one.
        const auto after = blocks_.upper_bound(block);
        REQUIRE((after == blocks_.end() || block + wanted.bytes <= after->first));
        if (after != blocks_.begin()) {
            const auto before = std::prev(after);
            REQUIRE(before->first + before->second <= block);
        }
        fill(block, wanted.bytes);
    }
    void release()
    {
        if (blocks_.empty())
            return;
        const auto chosen = any();
        check(chosen->first, chosen->second);
        REQUIRE(heap_.free(chosen->first));
        blocks_.erase(chosen);
    }
    void resize()
    {
        if (blocks_.empty())
            return;
        const auto chosen = any();
        const auto [old, old_bytes] = *chosen;
        const auto bytes = any_size() + 1;
        const auto wanted = std::byte{pattern(old, old_bytes)};
        auto* block = static_cast<std::byte*>(heap_.realloc(old, bytes));
        REQUIRE(block);
        blocks_.erase(chosen);
        REQUIRE(std::all_of(block, block + std::min(bytes, old_bytes),
                            [&](std::byte each) { return each == wanted; }));
        fill(block, bytes);
    }
    std::map<std::byte*, std::size_t>::iterator any()
    {
        return std::next(blocks_.begin(), static_cast<std::ptrdiff_t>(random_() % blocks_.size()));
    }

    heap heap_;
    std::mt19937_64 random_;
    std::map<std::byte*, std::size_t> blocks_;
};

}  // namespace

TEST_CASE("any sequence of allocations keeps every byte of every block", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    {
        model sequence{heap, test::random_engine("heap model")()};
        for (std::uint64_t i = 0; i != test::scaled(20'000, 2'000'000); ++i) {
            sequence.step();
            if (i % 1000 == 0)
                require_sound(heap);
        }
        sequence.check_all();
    }
    require_sound(heap);
    CHECK(used_blocks(heap) == 0);
    CHECK(heap.layout().counters.arenas == 1);  // all but one given back
}

TEST_CASE("threads share a heap without losing a block", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    const auto seed = test::random_engine("heap threads")();
    std::vector<std::thread> threads;
    for (std::uint64_t each = 0; each != 4; ++each)
        threads.emplace_back([&, each] {
            auto mine = heap;
            std::mt19937_64 random{seed + each};
            std::vector<unsigned char*> blocks;
            for (std::uint64_t i = 0; i != test::scaled(20'000, 1'000'000); ++i) {
                if (blocks.size() < 100 && random() % 3 != 0) {
                    auto* block = static_cast<unsigned char*>(mine.malloc(16 + random() % 2000));
                    if (block)
                        blocks.push_back(block), *block = static_cast<unsigned char>(each);
                } else if (!blocks.empty()) {
                    std::swap(blocks[random() % blocks.size()], blocks.back());
                    if (*blocks.back() == each)
                        mine.free(blocks.back());
                    blocks.pop_back();
                }
            }
            for (auto* block : blocks)
                if (*block == each)
                    mine.free(block);
        });
    for (auto& thread : threads)
        thread.join();

    require_sound(heap);
    CHECK(used_blocks(heap) == 0);
}

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

TEST_CASE("a thread lost with the heap's lock in its hand stops nobody", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* block = heap.malloc(100);
    test::run_and_lose([&] {
        auto& lock = const_cast<heap_layout&>(heap.layout()).lock;
        const auto nobody_is_dead = [](lane_id) { return false; };
        static_cast<void>(lock.lock(domain->members().lane(), deadline_in(1s), nobody_is_dead));
    });

    auto* another = heap.malloc(100);

    CHECK(another != nullptr);
    CHECK(heap.layout().repairs == 1);
    CHECK(heap.free(block));
    CHECK(heap.free(another));
    require_sound(heap);
}

TEST_CASE("behind a holder that lives a call gives up and names it", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto& lock = const_cast<heap_layout&>(heap.layout()).lock;
    const auto holder = domain->members().lane();
    REQUIRE(lock.lock(holder, deadline_in(1s), [](lane_id) { return false; }) ==
            lock_result::acquired);

    std::thread{[&] {
        CHECK(heap.malloc(100) == nullptr);
        CHECK(heap::last_failure().reason == errc::stalled);
        CHECK_THAT(heap::last_failure().sentence,
                   Catch::Contains("lane " + std::to_string(holder)));
    }}.join();

    lock.unlock();
    CHECK(heap.free(heap.malloc(100)));
}
