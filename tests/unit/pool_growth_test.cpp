#include "cohort/pool/pool_growth.hpp"

#include "support/lost_thread.hpp"
#include "support/refusal.hpp"
#include "support/scratch_domain.hpp"

#include <atomic>
#include <cstring>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::refusal_of;
using cohort::test::scratch_domain;

namespace {

const mempool_options a_hundred{.count = 100, .element_bytes = 40, .cache_size = 8};

std::set<void*> take_all(mempool& pool)
{
    std::set<void*> all;
    while (void* object = pool.get())
        all.insert(object);
    return all;
}

std::size_t chunk_entries(scratch_domain& domain)
{
    std::size_t count = 0;
    for_each_used(domain->region().memory, [&](const auto& zone) {
        count += zone.kind == zone_kind::pool_chunk && zone.word().state != zone_state::empty;
    });
    return count;
}

}  // namespace

TEST_CASE("a pool that is made empty gives what it was populated with, each object once", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_empty_mempool("p", a_hundred);
    CHECK(pool.count() == 0);
    CHECK(pool.capacity() == 100);
    CHECK(pool.get() == nullptr);

    CHECK(domain->populate(pool, {.count = 30}) == 30);
    CHECK(pool.available() == 30);
    CHECK(domain->populate(pool) == 70);

    const auto all = take_all(pool);
    CHECK(all.size() == 100);
    CHECK(domain.audit_of("p").held == 100);
    CHECK(domain.audit().clean());
    for (void* object : all)
        pool.put(object);
    CHECK(pool.in_use() == 0);
    CHECK(find_fault(pool.layout()) == nullptr);
}

TEST_CASE("a pool grows while its objects are out, and stays what it was to who holds them",
          "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_empty_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    domain->populate(pool.objects(), {.count = 16});
    std::vector<mbuf*> first;
    while (mbuf* packet = pool.alloc())
        first.push_back(packet);
    REQUIRE(first.size() == 16);

    CHECK(domain->populate(pool.objects(), {.count = 20}) == 20);

    std::vector<mbuf*> second;
    while (mbuf* packet = pool.alloc())
        second.push_back(packet);
    CHECK(second.size() == 20);
    for (auto* packet : second) {
        CHECK(packet->append(100).size() == 100);
        CHECK(find_fault(*packet, true) == nullptr);
    }
    CHECK(domain.audit_of("p").held == 36);
    for (auto* packets : {&first, &second})
        for (auto* packet : *packets)
            free(packet);
    CHECK(domain.audit_of("p").adds_up());
    CHECK(domain.audit().clean());
}

TEST_CASE("objects lie in the memory that a user brings, as many as fit", "[pool]")
{
    scratch_domain domain;
    const auto alignment = GENERATE(64u, 256u);
    auto options = a_hundred;
    options.alignment = alignment;
    auto pool = domain->create_empty_mempool("p", options);
    const auto zone = domain->reserve_memzone("mine", 8192);
    const auto memory = zone.bytes().subspan(64);

    const auto added = domain->populate(pool, memory);

    CHECK(added >= memory.size() / pool.layout().stride - 1);
    CHECK(pool.count() == added);
    for (void* object : take_all(pool)) {
        const auto at = static_cast<std::byte*>(object);
        CHECK(at - object_header_bytes >= memory.data());
        CHECK(at + 40 <= memory.data() + memory.size());
        CHECK(reinterpret_cast<std::uintptr_t>(at) % alignment == 0);
        pool.put(object);
    }
    auto heap = domain->heap();
    void* block = heap.malloc(8192);
    CHECK(domain->populate(pool, {static_cast<std::byte*>(block), 8192}) != 0);
    CHECK(find_fault(pool.layout()) == nullptr);
    CHECK(domain.audit().clean());
    CHECK(domain->destroy_mempool("p"));
    CHECK(heap.free(block));
}

TEST_CASE("memory that a user brought is in use until the pool is gone", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_empty_mempool("p", a_hundred);
    auto other = domain->create_empty_mempool("other", a_hundred);
    const auto zone = domain->reserve_memzone("mine", 4096);
    domain->populate(pool, zone.bytes());

    CHECK(refusal_of([&] { domain->release_memzone("mine"); }) == errc::in_use);
    CHECK(refusal_of([&] { domain->populate(other, zone.bytes().first(1024)); }) == errc::exists);
    CHECK(refusal_of([&] { domain->populate(pool, zone.bytes().last(64)); }) == errc::exists);

    CHECK(domain->destroy_mempool("p"));
    CHECK(domain->release_memzone("mine"));
}

TEST_CASE("populate refuses what cannot be, and leaves the pool as it was", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_empty_mempool("p", a_hundred);
    const auto zone = domain->reserve_memzone("mine", 4096);
    std::vector<std::byte> elsewhere(4096);

    CHECK(refusal_of([&] { domain->populate(pool, {.count = 101}); }) == errc::no_space);
    CHECK(refusal_of([&] { domain->populate(pool, elsewhere); }) == errc::invalid_argument);
    CHECK(refusal_of([&] { domain->populate(pool, zone.bytes().first(100)); }) == errc::no_space);
    CHECK(refusal_of([&] {
              domain->create_empty_mempool(
                  "q", {.count = 9, .element_bytes = 8, .construct = [](void*, std::uint32_t) {}});
          }) == errc::invalid_argument);
    CHECK_THROWS_AS(domain->populate(pool, {.construct =
                                                [](void*, std::uint32_t index) {
                                                    if (index == 50)
                                                        throw std::runtime_error{"no"};
                                                }}),
                    std::runtime_error);

    CHECK(pool.count() == 0);
    CHECK(chunk_entries(domain) == 0);
    CHECK(domain->populate(pool) == 100);
    CHECK(refusal_of([&] { domain->populate(pool); }) == errc::no_space);
    CHECK(refusal_of([&] { domain->populate(domain->create_mempool("whole", a_hundred)); }) ==
          errc::no_space);
    CHECK(domain->destroy_mempool("p"));
    CHECK(chunk_entries(domain) == 0);
    CHECK(domain.audit().clean());
}

TEST_CASE("a pool takes 64 chunks of memory, and refuses one more", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_empty_mempool("p", a_hundred);
    for (std::uint32_t i = 0; i != max_pool_chunks; ++i)
        REQUIRE(domain->populate(pool, {.count = 1}) == 1);

    CHECK(refusal_of([&] { domain->populate(pool, {.count = 1}); }) == errc::no_space);

    CHECK(take_all(pool).size() == max_pool_chunks);
    CHECK(find_fault(pool.layout()) == nullptr);
    CHECK(domain->destroy_mempool("p"));
    CHECK(chunk_entries(domain) == 0);
}

TEST_CASE("constructors and walks see each object with its index, chunk after chunk", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_empty_mempool("p", a_hundred);
    const auto number = [](void* object, std::uint32_t index) {
        std::memcpy(object, &index, sizeof index);
    };
    const auto zone = domain->reserve_memzone("mine", 4096);
    domain->populate(pool, {.count = 10, .construct = number});
    const auto brought = domain->populate(pool, zone.bytes(), number);
    domain->populate(pool, {.construct = number});

    std::uint32_t next = 0;
    CHECK(pool.for_each_object([&](void* object, std::uint32_t index) {
        std::uint32_t seen = 0;
        std::memcpy(&seen, object, sizeof seen);
        CHECK(index == next++);
        CHECK(seen == index);
        CHECK(pool.layout().index_of(reinterpret_cast<std::uint64_t>(object)) == index);
    }) == 100);
    std::vector<std::uint32_t> counts;
    CHECK(pool.for_each_chunk([&](const pool_chunk_layout& chunk, std::uint32_t index) {
        CHECK(index == counts.size());
        counts.push_back(chunk.count);
    }) == 3);
    CHECK(counts == std::vector<std::uint32_t>{10, brought, 90 - brought});
}

TEST_CASE("threads that populate one pool at a time fill it exactly, while others use it", "[pool]")
{
    scratch_domain domain;
    auto pool =
        domain->create_empty_mempool("p", {.count = 60, .element_bytes = 8, .cache_size = 4});
    std::atomic<bool> done{false};
    std::atomic<int> strange{0};
    std::thread user{[&] {
        while (!done)
            if (void* object = pool.get()) {
                strange += pool.layout().index_of(reinterpret_cast<std::uint64_t>(object)) >= 60;
                pool.put(object);
            }
        pool.flush();
    }};
    std::vector<std::thread> growers;
    for (int i = 0; i != 3; ++i)
        growers.emplace_back([&] {
            for (int round = 0; round != 4; ++round)
                strange += domain->populate(pool, {.count = 5}) != 5;
        });
    for (auto& grower : growers)
        grower.join();
    done = true;
    user.join();

    CHECK(strange == 0);
    CHECK(pool.count() == 60);
    CHECK(pool.available() == 60);
    CHECK(take_all(pool).size() == 60);
    CHECK(domain.audit().clean());
}

TEST_CASE("a thread that died while it populated a pool keeps nobody from populating it", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_empty_mempool("p", a_hundred);
    test::run_and_lose([&] {
        static_cast<void>(pool.layout().growing.lock(domain->members().lane(), deadline_in(1s),
                                                     [](lane_id) { return false; }));
    });

    CHECK(domain->populate(pool) == 100);

    CHECK(take_all(pool).size() == 100);
}

TEST_CASE("a pool behind one who adds to it for long is neither grown nor destroyed", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_empty_mempool("p", a_hundred);
    std::atomic<bool> inside{false};
    std::atomic<bool> go_on{false};
    std::thread slow{[&] {
        static_cast<void>(
            domain->populate(pool, {.count = 1, .construct = [&](void*, std::uint32_t) {
                                        inside = true;
                                        while (!go_on)
                                            std::this_thread::yield();
                                    }}));
    }};
    while (!inside)
        std::this_thread::yield();

    const auto destroying = refusal_of([&] { domain->destroy_mempool("p"); });
    go_on = true;
    slow.join();

    CHECK(destroying == errc::stalled);
    CHECK(pool.count() == 1);
    CHECK(domain->destroy_mempool("p"));
}

TEST_CASE("the validator of a pool's chunks tells what is broken", "[pool]")
{
    scratch_domain domain;
    auto pool = domain->create_empty_mempool("p", a_hundred);
    domain->populate(pool, {.count = 10});
    domain->populate(pool, {.count = 10});
    auto* chunks = reinterpret_cast<pool_chunk_layout*>(pool.layout().chunks);
    const auto whole = chunks[1];
    REQUIRE(find_fault(pool.layout()) == nullptr);

    SECTION("an index twice")
    {
        chunks[1].first = 9;
        CHECK(find_fault(pool.layout()) != nullptr);
    }
    SECTION("outside its memory")
    {
        chunks[1].bytes -= 1024;
        CHECK(find_fault(pool.layout()) != nullptr);
    }
    SECTION("the memory of another")
    {
        chunks[1].address = chunks[0].address;
        chunks[1].objects = chunks[0].objects;
        CHECK(find_fault(pool.layout()) != nullptr);
        CHECK_FALSE(domain.audit().clean());
    }
    SECTION("an entry that no pool lists")
    {
        chunks[1].generation += 1;
        CHECK_FALSE(domain.audit().clean());
    }
    chunks[1] = whole;
    CHECK(domain.audit().clean());
}

TEST_CASE("of two who destroy a pool at once one does it, and the other finds it gone", "[pool]")
{
    scratch_domain domain;
    domain->create_mempool("p", a_hundred);
    auto& nothing_goes = domain->region().recovery.lock;
    REQUIRE(nothing_goes.lock(domain->members().lane(), deadline{},
                              [](lane_id) { return false; }) == lock_result::acquired);
    std::atomic<int> ours{0};
    std::atomic<int> gone{0};
    const auto destroy = [&] {
        static_cast<void>(refusal_of([&] { ++(domain->destroy_mempool("p") ? ours : gone); }));
    };
    std::thread one{destroy};
    std::thread other{destroy};
    std::this_thread::sleep_for(50ms);  // most likely both wait
    nothing_goes.unlock();
    one.join();
    other.join();

    CHECK(ours == 1);
    CHECK(gone == 1);
}

TEST_CASE("memory that is brought to two pools at once goes into one of them", "[pool]")
{
    scratch_domain domain;
    auto late = domain->create_empty_mempool("late", a_hundred);
    auto first = domain->create_empty_mempool("first", a_hundred);
    const auto memory = domain->reserve_memzone("m", 64 * 1024);
    const auto bring_to_first = [&](void*, std::uint32_t index) {
        if (index == 0)
            domain->populate(first, memory.bytes());
    };

    CHECK(refusal_of([&] { domain->populate(late, memory.bytes(), bring_to_first); }) ==
          errc::exists);

    CHECK(late.count() == 0);
    CHECK(take_all(first).size() == first.count());
    CHECK(first.count() == 100);
}
