#include "cohort/domain/heap.hpp"
#include "support/scratch_domain.hpp"

#include <algorithm>
#include <map>
#include <string>

#include <catch2/catch.hpp>

using namespace cohort;
using test::scratch_domain;

TEST_CASE("the statistics of a heap add up and follow what is allocated", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* first = heap.malloc(1000);
    const auto before = heap.statistics();
    auto* second = heap.malloc(3000);

    const auto after = heap.statistics();

    CHECK(after.used_blocks == before.used_blocks + 1);
    CHECK(after.used_bytes >= before.used_bytes + 3000);
    CHECK(after.used_bytes + after.free_bytes <= after.bytes);
    CHECK(after.largest_free < before.largest_free);
    CHECK(after.arenas == before.arenas);
    CHECK(heap.free(first));
    CHECK(heap.free(second));
}

TEST_CASE("a walk of a heap shows each used block with its type, owner and lifetime", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* kept = heap.malloc(100, heap.type("flows"));
    auto* mortal = heap.allocate({.bytes = 50, .kept = lifetime::member});

    std::map<const void*, heap_block_info> seen;
    heap.for_each_block(
        [&](const void* block, const heap_block_info& info) { seen[block] = info; });

    REQUIRE(seen.size() == 2);
    CHECK(seen.at(kept).type == "flows");
    CHECK(seen.at(kept).owner == domain->self().id);
    CHECK(seen.at(kept).usable_bytes >= 100);
    CHECK(seen.at(kept).kept == lifetime::domain);
    CHECK(seen.at(mortal).kept == lifetime::member);
    const auto text = heap.dump();
    CHECK_THAT(text, Catch::Contains("type flows"));
    CHECK_THAT(text, Catch::Contains("used in 2 blocks"));
}

TEST_CASE("a sensitive free leaves nothing of what was in the block", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* block = static_cast<char*>(heap.malloc(1000));
    std::fill_n(block, 1000, 'x');

    CHECK(heap.free_sensitive(block));

    constexpr std::ptrdiff_t links = 16;  // of a free block
    CHECK(std::count(block, block + links, 'x') < links);
    CHECK(std::count(block + links, block + 1000, 'x') == 0);
    CHECK_FALSE(heap.free_sensitive(block));
    CHECK(heap.free_sensitive(nullptr));
}

TEST_CASE("a sized free refuses a size that the block cannot hold, and frees any other", "[heap]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto* block = heap.malloc(100);

    CHECK_FALSE(heap.free(block, 10'000));
    CHECK(heap::last_failure().reason == errc::invalid_argument);
    CHECK(heap.usable_bytes(block) >= 100);
    CHECK(heap.free(block, 100));
    CHECK(heap.usable_bytes(block) == 0);
    CHECK_FALSE(heap.free(block, 100));
    CHECK(heap.free(nullptr, 100));
}
