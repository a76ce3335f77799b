// Random sequences of heap calls, by one thread against a model and by several at once.

#include "cohort/domain/heap.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"
#include "support/sound_heap.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using test::require_sound;
using test::scratch_domain;

namespace {

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
        REQUIRE(reinterpret_cast<std::uintptr_t>(block) %
                    std::max<std::size_t>(16, wanted.alignment) ==
                0);
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
    CHECK(heap.layout().counters.used_blocks == 0);
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
    CHECK(heap.layout().counters.used_blocks == 0);
}
