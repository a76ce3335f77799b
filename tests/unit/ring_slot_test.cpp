// Rings of pointers, whose slots tell by themselves whether they are filled.

#include "cohort/recovery/object_view.hpp"
#include "cohort/ring/ring.hpp"
#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"
#include "unit/single_sides.hpp"

#include <array>
#include <deque>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;
using cohort::test::single;

namespace {

struct thing;  // never defined: the ring moves pointers only

thing* number(std::uint64_t i)
{
    return reinterpret_cast<thing*>(i);
}

std::vector<thing*> numbers(std::uint64_t count, std::uint64_t first = 0)
{
    std::vector<thing*> all;
    for (std::uint64_t i = 0; i != count; ++i)
        all.push_back(number(first + i));
    return all;
}

/// A producer that dies when it has claimed its side for `batch` and filled the slots whose bits
/// are set in `written`.
void die_while_filling(scratch_domain& domain, ring<thing*>& ring, std::span<thing* const> batch,
                       std::uint32_t written)
{
    test::run_and_lose([&] {
        auto& layout = ring.layout();
        const auto seen = layout.producer.load();
        layout.producer.word = seen.next(seen.position, domain->members().lane()).pack();
        layout.producer.pending = static_cast<std::uint32_t>(batch.size());
        const auto slots = detail::slots_of(layout);
        for (std::uint32_t i = 0; i != batch.size(); ++i) {
            const auto item = reinterpret_cast<std::uint64_t>(batch[i]);
            if ((written >> i & 1) != 0)
                slots.put(seen.position + i, &item, 1);
        }
    });
}

}  // namespace

TEST_CASE("a ring of pointers is empty exactly when a dequeue would find nothing, lap for lap",
          "[ring]")
{
    scratch_domain domain;
    const std::uint32_t capacity = GENERATE(1u, 5u, 8u);
    auto ring = domain->create_ring<thing*>("r", capacity);
    thing* one = nullptr;

    for (std::uint32_t lap = 0; lap != 40; ++lap) {
        REQUIRE(ring.empty());
        REQUIRE_FALSE(ring.dequeue(one));
        const auto items = numbers(1 + lap % capacity, lap);
        for (auto* item : items) {
            REQUIRE(ring.enqueue(item));
            REQUIRE_FALSE(ring.empty());
        }
        for (std::size_t i = 0; i != items.size(); ++i) {
            REQUIRE_FALSE(ring.empty());
            REQUIRE(ring.dequeue(one));
        }
    }
}

TEST_CASE("pointers come out as they went in, whatever their top bits", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<thing*>("r", 4);
    std::array<thing*, 3> in{nullptr, number(1), number((std::uint64_t{1} << 57) - 8)};

    for (int lap = 0; lap != 20; ++lap) {
        REQUIRE(ring.enqueue_bulk(in) == 3);
        std::array<thing*, 3> out{};
        REQUIRE(ring.dequeue_bulk(out) == 3);
        REQUIRE(out == in);
    }
}

TEST_CASE("a pointer that no process can have loses its top bit and stops nobody", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<thing*>("r", 16);
    const std::vector<thing*> in(9, number(~std::uint64_t{0}));

    for (int lap = 0; lap != 8; ++lap) {
        REQUIRE(ring.enqueue_bulk(in) == 9);
        std::vector<thing*> out(9);
        REQUIRE(ring.dequeue_bulk(out) == 9);
        REQUIRE(out == std::vector<thing*>(9, number(~std::uint64_t{0} >> 1)));
        REQUIRE(find_fault(ring.layout()) == nullptr);
    }
}

TEST_CASE("a ring of pointers behaves as a queue of that capacity, at any position", "[ring]")
{
    scratch_domain domain;
    const auto options = GENERATE(ring_options{}, single);
    const auto capacity = GENERATE(1u, 3u, 8u, 13u, 64u, 100u);
    const auto start = GENERATE(0u, 5u, 0xffff'fff9u, 0x7fff'fffdu);
    auto ring = domain->create_ring<thing*>("r", capacity, options);
    rewind(ring.layout(), start);
    auto random = test::random_engine("queue");
    std::deque<thing*> model;

    std::uint64_t next = 1;
    for (int step = 0; step != 400; ++step) {
        const auto count = 1 + random() % (capacity + 3);
        const bool bulk = random() % 2 == 0;
        if (random() % 2 == 0) {
            const auto items = numbers(count, next);
            const auto room = capacity - model.size();
            const auto fits = bulk ? (count <= room ? count : 0) : std::min(count, room);
            REQUIRE((bulk ? ring.enqueue_bulk(items) : ring.enqueue_burst(items)) == fits);
            model.insert(model.end(), items.begin(),
                         items.begin() + static_cast<std::ptrdiff_t>(fits));
            next += fits;
        } else {
            std::vector<thing*> out(count);
            const auto there = model.size();
            const auto comes = bulk ? (count <= there ? count : 0) : std::min(count, there);
            REQUIRE((bulk ? ring.dequeue_bulk(out) : ring.dequeue_burst(out)) == comes);
            for (std::size_t i = 0; i != comes; ++i, model.pop_front())
                REQUIRE(out[i] == model.front());
        }
        REQUIRE(ring.count() == model.size());
        REQUIRE(find_fault(ring.layout()) == nullptr);
    }
}

TEST_CASE("what a dead producer had published of a batch stays, and what lies behind a gap goes",
          "[ring]")
{
    scratch_domain domain;
    const auto options = GENERATE(ring_options{}, single);
    const auto start = GENERATE(0u, 6u, 0xffff'fffcu);
    auto ring = domain->create_ring<thing*>("r", 24, options);
    rewind(ring.layout(), start);
    const auto [written, kept] = GENERATE(table<std::uint32_t, std::uint64_t>({
        {0x0000, 0},   // nothing yet
        {0x0f00, 0},   // some of the later lines
        {0xff00, 0},   // all of them
        {0xff03, 2},   // and a part of the first
        {0xffff, 16},  // all but the commit
    }));
    domain->leave_lane();  // a role this test took

    die_while_filling(domain, ring, numbers(16, 100), written);

    REQUIRE(ring.enqueue(number(7)));
    REQUIRE(find_fault(ring.layout()) == nullptr);
    std::array<thing*, 32> out{};
    REQUIRE(ring.dequeue_burst(out) == kept + 1);
    for (std::uint64_t i = 0; i != kept; ++i)
        CHECK(out[i] == number(100 + i));
    CHECK(out[kept] == number(7));
    // And the slots behind are clean for whole laps to come.
    for (std::uint64_t i = 0; i != 100; ++i) {
        REQUIRE(ring.enqueue_bulk(numbers(5, i)) == 5);
        REQUIRE(ring.dequeue_burst(out) == 5);
        REQUIRE(out[4] == number(i + 4));
    }
}

TEST_CASE("consumers take what a dead producer has published before anybody repairs", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<thing*>("r", 24);
    die_while_filling(domain, ring, numbers(16, 100), 0xff1f);

    std::array<thing*, 32> out{};
    REQUIRE(ring.dequeue_burst(out) == 5);
    CHECK(out[4] == number(104));
    CHECK(ring.count() == 0);  // the consumer is ahead of the position of the dead
    CHECK(ring.dequeue_burst(out) == 0);

    CHECK(ring.enqueue_bulk(numbers(24)) == 24);
    CHECK(find_fault(ring.layout()) == nullptr);
    CHECK(ring.dequeue_burst(out) == 24);
}

TEST_CASE("what a dead producer has published counts as in the ring while a survivor takes over",
          "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<thing*>("r", 24);
    REQUIRE(ring.enqueue_bulk(numbers(2, 1)) == 2);
    die_while_filling(domain, ring, numbers(16, 100), 0xff07);
    auto& side = ring.layout().producer;  // this thread has claimed it, and has not repaired yet
    side.word = side.load().next(side.load().position, domain->members().lane()).pack();

    std::vector<std::uint64_t> found;
    for_each_handle(ring.layout(), [&](std::uint64_t handle) { found.push_back(handle); });

    CHECK(found == std::vector<std::uint64_t>{1, 2, 100, 101, 102});
}

TEST_CASE("a bulk that meets a gap takes nothing and waits for no one", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<thing*>("r", 24);
    die_while_filling(domain, ring, numbers(16, 100), 0xff1f);
    std::array<thing*, 12> out{};

    CHECK(ring.dequeue_bulk(out) == 0);

    CHECK(ring.layout().consumer.load().lane == 0);
    CHECK(ring.dequeue_bulk(std::span{out}.first(5)) == 5);
}

TEST_CASE("the validator finds a slot that disagrees with the positions", "[ring]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<thing*>("r", 8);
    REQUIRE(ring.enqueue_bulk(numbers(3)) == 3);
    const auto slots = detail::slots_of(ring.layout());
    REQUIRE(find_fault(ring.layout()) == nullptr);

    *slots.at(5) ^= detail::slot_mark;
    CHECK_THAT(find_fault(ring.layout()), Catch::Contains("nobody has committed"));
    *slots.at(5) ^= detail::slot_mark;
    *slots.at(1) ^= detail::slot_mark;
    CHECK_THAT(find_fault(ring.layout()), Catch::Contains("is not filled"));
}

TEST_CASE("many producers and consumers pass every pointer once, in the order of its producer",
          "[ring][threads]")
{
    scratch_domain domain;
    constexpr std::uint64_t per_producer = 20'000;
    constexpr std::uint64_t producers = 2;
    auto ring = domain->create_ring<thing*>("r", 40);
    std::array<std::vector<std::uint64_t>, 2> received;
    std::atomic<std::uint64_t> total{0};

    std::vector<std::thread> threads;
    for (std::uint64_t p = 0; p != producers; ++p)
        threads.emplace_back([&, p] {
            for (std::uint64_t sent = 0; sent != per_producer;) {
                const auto count = std::min(1 + sent % 19, per_producer - sent);
                sent += ring.enqueue_burst(numbers(count, p << 32 | sent));
            }
        });
    for (auto& mine : received)
        threads.emplace_back([&] {
            std::array<thing*, 16> out{};
            while (total.load() != producers * per_producer) {
                const auto got = ring.dequeue_burst(out);
                for (std::size_t i = 0; i != got; ++i)
                    mine.push_back(reinterpret_cast<std::uint64_t>(out[i]));
                total += got;
            }
        });
    for (auto& each : threads)
        each.join();

    std::array<std::vector<bool>, producers> seen;
    for (auto& each : seen)
        each.resize(per_producer);
    for (const auto& mine : received) {
        std::array<std::int64_t, producers> last{-1, -1};
        for (const auto item : mine) {
            const auto p = item >> 32;
            const auto i = item & 0xffff'ffff;
            REQUIRE(static_cast<std::int64_t>(i) > last.at(p));
            last.at(p) = static_cast<std::int64_t>(i);
            REQUIRE_FALSE(seen.at(p).at(i));
            seen.at(p).at(i) = true;
        }
    }
}
